"""Named users: adding, disabling and removing them, their roles and passwords. For admins."""

from collections.abc import Callable

from flask import Blueprint, render_template, request, url_for
from werkzeug.wrappers import Response

from app.errors import AccessError
from app.ledger.access.passwords import generate_password
from app.ledger.access.roles import ROLES, role_named
from app.ledger.access.tokens import revoke_token, tokens_of
from app.ledger.access.users import (
    User,
    add_user,
    all_users,
    disable_user,
    enable_user,
    end_sessions,
    remove_user,
    set_password,
    set_role,
    user_of,
)
from app.ledger.audit import audit
from app.ledger.engine import look
from app.web.auth import admin_required, login_required, user_id
from app.web.services import Parts, actor, redirect_with

LINES = 10


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/users")
    @login_required
    @admin_required
    def users() -> str:
        with look(ledger) as tx:
            listed = all_users(tx)
        return render_template("users/users.html", users=listed, roles=ROLES)

    @blueprint.post("/users")
    @login_required
    @admin_required
    def add() -> str | Response:
        password = generate_password()
        try:
            role = role_named(request.form.get("role", ""))
            user = add_user(ledger, parts.passwords, request.form.get("name", ""), role, password, actor=actor())
        except AccessError as error:
            return redirect_with(str(error), url_for(".users"), is_done=False)
        return render_template("users/secret.html", user=user, text=password, back=url_for(".user", of=user.id))

    @blueprint.get("/users/<int:of>")
    @login_required
    @admin_required
    def user(of: int) -> str:
        with look(ledger) as tx:
            shown = user_of(tx, of)
            tokens, lines = tokens_of(tx, of), audit(tx, subject=shown.target, limit=LINES)
        return render_template(
            "users/user.html",
            user=shown,
            tokens=tokens,
            revoke_url=lambda token_id: url_for(".revoke", of=of, token_id=token_id),
            lines=lines,
            roles=ROLES,
            is_me=of == user_id(),
        )

    @blueprint.post("/users/<int:of>/role")
    @login_required
    @admin_required
    def change_role(of: int) -> Response:
        role = request.form.get("role", "")
        return changed(
            of, "changed the role of", lambda: set_role(ledger, of, role_named(role), actor=actor(), by=user_id())
        )

    @blueprint.post("/users/<int:of>/disable")
    @login_required
    @admin_required
    def disable(of: int) -> Response:
        return changed(of, "disabled", lambda: disable_user(ledger, of, actor=actor(), by=user_id()))

    @blueprint.post("/users/<int:of>/enable")
    @login_required
    @admin_required
    def enable(of: int) -> Response:
        return changed(of, "enabled", lambda: enable_user(ledger, of, actor=actor()))

    @blueprint.post("/users/<int:of>/end-sessions")
    @login_required
    @admin_required
    def end_their_sessions(of: int) -> Response:
        return changed(of, "ended the sessions of", lambda: end_sessions(ledger, of, actor=actor()))

    @blueprint.post("/users/<int:of>/password")
    @login_required
    @admin_required
    def reset_password(of: int) -> str | Response:
        password = generate_password()
        try:
            user = set_password(ledger, parts.passwords, of, password, actor=actor(), by=user_id())
        except AccessError as error:
            return redirect_with(str(error), url_for(".user", of=of), is_done=False)
        return render_template("users/secret.html", user=user, text=password, back=url_for(".user", of=of))

    @blueprint.post("/users/<int:of>/remove")
    @login_required
    @admin_required
    def remove(of: int) -> str | Response:
        if "confirmed" not in request.form:
            with look(ledger) as tx:
                return render_template("users/remove.html", user=user_of(tx, of))
        try:
            removed = remove_user(ledger, of, actor=actor(), by=user_id())
        except AccessError as error:
            return redirect_with(str(error), url_for(".user", of=of), is_done=False)
        return redirect_with(f"removed {removed.name}", url_for(".users"))

    @blueprint.post("/users/<int:of>/tokens/<int:token_id>/revoke")
    @login_required
    @admin_required
    def revoke(of: int, token_id: int) -> Response:
        token = revoke_token(ledger, token_id, actor=actor(), user_id=of)
        return redirect_with(f"revoked the token {token.label}", url_for(".user", of=of))

    def changed(of: int, done: str, change: Callable[[], User]) -> Response:
        """Makes the change, and redirects to the user's page with the result. Raises UserNotFound."""
        with look(ledger) as tx:
            user_of(tx, of)
        try:
            changed_user = change()
        except AccessError as error:
            return redirect_with(str(error), url_for(".user", of=of), is_done=False)
        return redirect_with(f"{done} {changed_user.name}", url_for(".user", of=of))
