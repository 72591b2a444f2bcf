"""Logging in with a password, of the environment or of a named user, and logging out."""

from typing import TYPE_CHECKING, Any

import structlog
from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from app.ledger.access.roles import Role
from app.ledger.access.users import has_users, sign_in
from app.ledger.engine import Ledger
from app.logs import Sampler
from app.web.auth import (
    came_through_provider,
    check_site,
    log_in,
    log_in_user,
    log_out,
    log_out_everybody,
    logged_in,
    login_required,
    same,
)
from app.web.pages.users.guard import Guard
from app.web.services import Parts, actor

if TYPE_CHECKING:
    from app.web.sso.provider import Provider

log = structlog.get_logger(__name__)


def register(
    blueprint: Blueprint,
    parts: Parts,
    guard: Guard,
    password: str,
    viewer_password: str | None,
    provider: "Provider | None",
) -> None:
    """password: the operator's of the environment; viewer_password: the read-only one; provider: for single sign-on."""
    ledger = parts.ledger
    sampler = Sampler()

    @blueprint.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "GET":
            return redirect(url_for(".overview")) if logged_in() else form()
        check_site()
        guard.begin()
        name, typed = request.form.get("name", "").strip(), request.form.get("password", "")
        if (shared := _shared_role(typed, password, viewer_password)) is not None:
            guard.succeeded()
            log_in(name, shared)
            log.info("login.accepted", address=guard.address, role=shared)
            return redirect(local(request.args.get("next")))
        user = sign_in(ledger, parts.passwords, name, typed) if name and _has_users(ledger) else None
        if user is None:
            if (more := sampler.admit("login")) is not None:
                log.warning("login.refused", address=guard.address, **more)
            return form(is_wrong=True, name=name), 401
        guard.succeeded()
        log_in_user(user)
        log.info("login.accepted", address=guard.address, role=user.role, user_id=user.id)
        return redirect(local(request.args.get("next")))

    @blueprint.post("/logout")
    @login_required
    def logout() -> Response:
        is_of_provider = came_through_provider()
        log_out()
        return redirect(url_for(".login", left="provider" if is_of_provider else None))

    @blueprint.post("/logout-everywhere")
    @login_required
    def logout_everywhere() -> Response:
        log_out_everybody(ledger, actor())
        session.clear()
        return redirect(url_for(".login"))

    def form(*, is_wrong: bool = False, name: str = "") -> str:
        left = provider is not None and request.args.get("left") == "provider"
        return render_template(
            "login.html",
            wrong=is_wrong,
            name=name,
            has_users=_has_users(ledger),
            sso_host=provider.oidc.host if provider else None,
            sso_url=url_for("sso.begin", next=local(request.args.get("next"))) if provider else None,
            end_url=provider.end_url() if provider and left else None,
        )


def local(path: str | None) -> str:
    """A local path to redirect to; anything else becomes the Overview."""
    # Control characters are dropped on the way into the header, and by browsers: "/\t/evil.example" is "//evil.example".
    is_local = path and path.isprintable() and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if path and is_local else "/"


def _shared_role(typed: str, password: str, viewer_password: str | None) -> Role | None:
    """The role of a password of the environment; None if it is neither."""
    if same(typed, password):
        return "operator"
    return "viewer" if viewer_password is not None and same(typed, viewer_password) else None


def _has_users(ledger: Ledger) -> bool:
    with ledger.read() as tx:
        return has_users(tx)
