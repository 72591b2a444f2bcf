"""One's own account: password, sessions and API tokens."""

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from app.errors import AccessError
from app.ledger.access.passwords import LONGEST, SHORTEST
from app.ledger.access.roles import ROLES, may, role_named
from app.ledger.access.tokens import MOST_DAYS_OF_PROVIDER, make_token, revoke_token, tokens_of
from app.ledger.access.users import end_sessions, is_password_of, set_password, user_of
from app.ledger.engine import look
from app.web.auth import log_in_user, login_required, own_account, user_id
from app.web.pages.users.guard import Guard
from app.web.services import Parts, actor, redirect_with

DAYS = (30, 90, 365)
LONGEST_DAYS = 5
"""Digits."""


def register(blueprint: Blueprint, parts: Parts, guard: Guard) -> None:
    ledger = parts.ledger

    @blueprint.get("/account")
    @login_required
    def account() -> str:
        with look(ledger) as tx:
            user = user_of(tx, mine()) if user_id() is not None else None
            tokens = tokens_of(tx, user.id) if user else []
        return render_template(
            "users/account.html",
            user=user,
            tokens=tokens,
            revoke_url=lambda token_id: url_for(".revoke_my_token", token_id=token_id),
            roles=[role for role in ROLES if user and may(user.role, role)],
            days=[days for days in DAYS if user and (user.issuer is None or days <= MOST_DAYS_OF_PROVIDER)],
            shortest=SHORTEST,
            longest=LONGEST,
        )

    @blueprint.post("/account/password")
    @login_required
    @own_account
    def change_password() -> Response:
        form = request.form
        guard.begin()
        if not is_password_of(ledger, parts.passwords, mine(), form.get("current", "")):
            return redirect_with("the current password is wrong", url_for(".account"), is_done=False)
        guard.succeeded()
        if form.get("password", "") != form.get("again", ""):
            return redirect_with("the two new passwords differ", url_for(".account"), is_done=False)
        try:
            user = set_password(ledger, parts.passwords, mine(), form.get("password", ""), actor=actor())
        except AccessError as error:
            return redirect_with(str(error), url_for(".account"), is_done=False)
        log_in_user(user)  # this session has ended with the others
        return redirect_with("the password is changed, and your other sessions have ended", url_for(".account"))

    @blueprint.post("/account/end-sessions")
    @login_required
    @own_account
    def end_my_sessions() -> Response:
        end_sessions(ledger, mine(), actor=actor())
        session.clear()
        return redirect(url_for("dashboard.login"))

    @blueprint.post("/account/tokens")
    @login_required
    @own_account
    def make_my_token() -> str | Response:
        form = request.form
        try:
            role, days = role_named(form.get("role", "")), days_of(form.get("days", ""))
            token, text = make_token(ledger, mine(), form.get("label", ""), role=role, days=days, actor=actor())
        except AccessError as error:
            return redirect_with(str(error), url_for(".account"), is_done=False)
        return render_template("users/secret.html", token=token, text=text, back=url_for(".account"))

    @blueprint.post("/account/tokens/<int:token_id>/revoke")
    @login_required
    @own_account
    def revoke_my_token(token_id: int) -> Response:
        token = revoke_token(ledger, token_id, actor=actor(), user_id=mine())
        return redirect_with(f"revoked the token {token.label}", url_for(".account"))


def mine() -> int:
    """The ID of the logged-in user, for the pages of their own account."""
    own_id = user_id()
    assert own_id is not None
    return own_id


def days_of(text: str) -> int | None:
    """How long a token lasts; None for one that does not expire. Raises AccessError."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_DAYS):
        raise AccessError("the days until a token expires are a whole number")
    return int(text)
