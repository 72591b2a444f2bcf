"""The dashboard: is it working, what failed and why, and a button that fixes it. Everything shown is read from the ledger.

This module has login, logout and the template context; each page has its own module in app/web/pages.
"""

from typing import Any

import structlog
from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from app.logs import Sampler
from app.web import filters
from app.web.auth import (
    Role,
    check_site,
    is_operator,
    log_in,
    log_out,
    log_out_everybody,
    logged_in,
    login_required,
    same,
)
from app.web.pages import audit, deliveries, destination, events, exports, failed, overview, search, setup, sources
from app.web.services import Parts, actor
from app.web.throttle import Throttle, client_of

log = structlog.get_logger(__name__)

PAGES = (overview, failed, deliveries, events, sources, destination, search, setup, audit, exports)


def create_blueprint(parts: Parts, password: str, viewer_password: str | None) -> Blueprint:
    """password: the operator's. viewer_password: for a read-only login."""
    blueprint = Blueprint("dashboard", __name__)
    throttle, proxies = Throttle(), parts.settings.proxy_networks

    @blueprint.app_context_processor
    def shared() -> dict[str, Any]:
        return {
            "csrf": session.get("csrf", ""),
            "who": session.get("name"),
            "may_change": is_operator(),
            "is_sandbox": parts.settings.is_sandbox,
            "source_names": sorted(parts.intake.configured),
            "destination_names": [one.name for one in parts.destinations],
            "pulse": parts.pulse.get() if session.get("name") else None,
            "layout": "fragment.html" if request.headers.get("X-Live") else "base.html",
        }

    filters.install(blueprint)
    sampler = Sampler()

    @blueprint.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "GET":
            return redirect(url_for(".overview")) if logged_in() else render_template("login.html", wrong=False)
        check_site()
        address = client_of(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), proxies)
        throttle.begin(address)
        given = request.form.get("password", "")
        role: Role | None = "operator" if same(given, password) else None
        if role is None and viewer_password is not None and same(given, viewer_password):
            role = "viewer"
        if role is None:
            if (more := sampler.admit("login")) is not None:
                log.warning("login.refused", address=address, **more)
            return render_template("login.html", wrong=True), 401
        throttle.succeeded(address)
        log_in(request.form.get("name", "").strip(), role)
        log.info("login.accepted", address=address, role=role)
        return redirect(_local(request.args.get("next")))

    @blueprint.post("/logout")
    @login_required
    def logout() -> Response:
        log_out()
        return redirect(url_for(".login"))

    @blueprint.post("/logout-everywhere")
    @login_required
    def logout_everywhere() -> Response:
        log_out_everybody(parts.ledger, actor())
        session.clear()
        return redirect(url_for(".login"))

    @blueprint.get("/pulse")
    @login_required
    def pulse() -> str:
        """What pages that do not change otherwise ask for."""
        return render_template("fragment.html")

    for page in PAGES:
        page.register(blueprint, parts)
    return blueprint


def _local(path: str | None) -> str:
    """A local path to redirect to; anything else becomes the Overview."""
    # Control characters are dropped on the way into the header, and by browsers: "/\t/evil.example" is "//evil.example".
    is_local = path and path.isprintable() and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if path and is_local else "/"
