"""/api/v1: the same verbs as the pages, for programs. Every change is in the audit log, by "api"."""

from flask import Blueprint, Response, jsonify

from app.ledger.audit import audit as lines_of
from app.ledger.engine import look
from app.ledger.reading.summary.stats import CountCache
from app.ledger.reading.summary.stats import stats as stats_of
from app.web.api import bulk, deliveries, destinations, events, persons, sources
from app.web.api.openapi import document
from app.web.auth import check_bearer
from app.web.params import number, only, page_size
from app.web.services import Parts

RESOURCES = (events, deliveries, bulk, persons, sources, destinations)


def create_blueprint(parts: Parts, token: str | None) -> Blueprint:
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
    ledger, counts = parts.ledger, CountCache()

    @blueprint.before_request
    def authorize() -> None:
        check_bearer(token)

    for resource in RESOURCES:
        resource.register(blueprint, parts)

    @blueprint.get("/stats")
    def stats() -> Response:
        only()
        with look(ledger) as tx:
            return jsonify(stats_of(tx, counts))

    @blueprint.get("/audit")
    def audit() -> Response:
        only("before", "limit")
        before, limit = number("before"), page_size()
        with look(ledger) as tx:
            lines = list(lines_of(tx, before=before, limit=limit))
        return jsonify(audit=lines, next_before=lines[-1]["id"] if len(lines) == limit else None)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document())

    return blueprint
