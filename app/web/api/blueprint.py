"""/api/v1: the same actions as the pages, for programs. The audit log names "api" or the token's user as the actor."""

from functools import cache
from typing import Any

from flask import Blueprint, Response, jsonify

from app.web.api import bulk, deliveries, destinations, events, persons, reload, routes, sources, summary
from app.web.api.alerts import alerts
from app.web.api.inbound import quarantine, refusals
from app.web.api.playground import views as playground
from app.web.api.routes import Routes
from app.web.api.support import coverage, parked, why
from app.web.api.users import views as users
from app.web.auth import check_bearer, is_viewer
from app.web.masking import masked
from app.web.services import Parts

ROUTES = Routes()


@ROUTES.get("/openapi.json")
def openapi(parts: Parts) -> Response:
    """Get this document."""
    return jsonify(document())


RESOURCES = (
    events.ROUTES,
    deliveries.ROUTES,
    bulk.ROUTES,
    persons.ROUTES,
    sources.ROUTES,
    refusals.ROUTES,
    quarantine.ROUTES,
    destinations.ROUTES,
    summary.ROUTES,
    playground.ROUTES,
    parked.ROUTES,
    why.ROUTES,
    coverage.ROUTES,
    alerts.ROUTES,
    reload.ROUTES,
    users.ROUTES,
    ROUTES,
)


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of all resources."""
    return routes.document(RESOURCES)


def create_blueprint(parts: Parts, token: str | None) -> Blueprint:
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

    @blueprint.before_request
    def authorize() -> None:
        check_bearer(token)

    @blueprint.after_request
    def mask(response: Response) -> Response:
        return masked(response, is_viewer=is_viewer())

    for resource in RESOURCES:
        resource.register(blueprint, parts)
    return blueprint
