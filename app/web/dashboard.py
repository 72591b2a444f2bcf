"""The dashboard: is it working, what failed and why, and a button that fixes it. Everything shown is read from the ledger.

This module has the template context; each page has its own module in app/web/pages.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request, session

from app.web import filters, preferences
from app.web.auth import is_admin, is_operator, login_required
from app.web.lists.links import link_at
from app.web.pages import audit, deliveries, destination, events, exports, failed, overview, search, setup, sources
from app.web.pages.configuration import page as configuration
from app.web.pages.parked import work as parked
from app.web.pages.support import coverage, why
from app.web.pages.users import sign_in
from app.web.pages.users.guard import Guard
from app.web.services import Parts

if TYPE_CHECKING:
    from app.web.sso.provider import Provider

PAGES = (
    overview,
    failed,
    deliveries,
    events,
    sources,
    destination,
    search,
    setup,
    audit,
    exports,
    parked,
    configuration,
    why,
    coverage,
)


def create_blueprint(
    parts: Parts, guard: Guard, password: str, viewer_password: str | None, provider: "Provider | None"
) -> Blueprint:
    """password: the operator's. viewer_password: for a read-only login. provider: for single sign-on."""
    blueprint = Blueprint("dashboard", __name__)

    @blueprint.app_context_processor
    def shared() -> dict[str, Any]:
        return {
            "csrf": session.get("csrf", ""),
            "who": session.get("name"),
            "may_change": is_operator(),
            "is_admin": is_admin(),
            "is_sandbox": parts.settings.is_sandbox,
            "is_encrypted": parts.settings.encryption_key is not None,
            "source_names": sorted(parts.intake.configured),
            "destination_names": [destination.name for destination in parts.destinations],
            "pulse": parts.pulse.get() if session.get("name") else None,
            "link_at": partial(link_at, parts.sources),
            "layout": "fragment.html" if request.headers.get("X-Live") else "base.html",
        }

    filters.install(blueprint)
    preferences.register(blueprint, sign_in.local)
    sign_in.register(blueprint, parts, guard, password, viewer_password, provider)

    @blueprint.get("/pulse")
    @login_required
    def pulse() -> str:
        """The pulse alone, for live updates of pages whose content does not change."""
        return render_template("fragment.html")

    for page in PAGES:
        page.register(blueprint, parts)
    return blueprint
