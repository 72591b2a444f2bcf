"""Authentication: a session for people (with throttled login and CSRF tokens), a bearer token for programs."""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Literal, TypeVar

from flask import Flask, Request, current_app, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized

from app.ledger import sessions
from app.ledger.engine import Ledger

View = TypeVar("View", bound=Callable[..., Any])
Role = Literal["operator", "viewer"]
SESSION_SECONDS = 12 * 3600

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


def same(given: str, wanted: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def log_in(name: str, role: Role) -> None:
    """Starts a session for somebody with that name. A viewer sees everything and changes nothing."""
    session.clear()
    session["id"] = secrets.token_urlsafe(12)
    session["name"] = "".join(c for c in name if c.isprintable())[:40] or role  # it goes into the audit log
    session["role"] = role
    session["csrf"] = secrets.token_urlsafe(24)
    session["until"] = time.time() + SESSION_SECONDS
    session["epoch"] = sessions.epoch(_ledger())
    session["password"] = current_app.extensions["password_prints"][role]


def logged_in() -> bool:
    """Whether there is a valid session: not expired, not logged out, and its password unchanged."""
    if not session.get("name") or float(session.get("until", 0)) <= time.time():
        return False
    prints: Mapping[str, str] = current_app.extensions["password_prints"]
    if session.get("password", "") != prints.get(str(session.get("role"))):
        return False
    return sessions.is_open(_ledger(), str(session.get("id")), int(session.get("epoch", -1)))


def log_out() -> None:
    """Ends this session, including copies of its cookie."""
    sessions.end(_ledger(), str(session["id"]), int(session["until"]))
    session.clear()


def log_out_everybody(ledger: Ledger, actor: str) -> None:
    """Ends every session on every machine."""
    sessions.end_all(ledger, actor)


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["ledger"]
    return ledger


def is_operator() -> bool:
    return session.get("role") == "operator"


def login_required(view: View) -> View:
    """Decorates pages: redirects to the login without a session. Changes need an operator and the session's CSRF token."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not logged_in():
            session.clear()
            if request.method != "GET":
                raise Unauthorized("log in first")
            return redirect(url_for("dashboard.login", next=request.full_path.removesuffix("?")))
        if request.method not in ("GET", "HEAD"):
            check_csrf()
            if not is_operator() and request.endpoint != "dashboard.logout":
                raise Forbidden("this login is read-only")
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def operator_required(view: View) -> View:
    """Decorates pages, below login_required, that only an operator may see."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not is_operator():
            raise Forbidden("this login is read-only")
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def check_site() -> None:
    """Raises BadRequest for a form from another site, as browsers report it (not over http from another machine)."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise BadRequest("this form came from another site: log in here")


def check_csrf() -> None:
    """Raises BadRequest unless the form carries this session's token."""
    if not same(request.form.get("csrf", ""), session.get("csrf") or secrets.token_urlsafe()):
        raise BadRequest("this form is too old: reload the page and try again")


def check_bearer(token: str | None) -> None:
    """Raises Forbidden if no API token is configured, Unauthorized if the request has another one."""
    if token is None:
        raise Forbidden("set API_TOKEN to open the API")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not same(given.strip(), token):
        raise Unauthorized("send Authorization: Bearer API_TOKEN")


class PagesOnlySessions(SecureCookieSessionInterface):
    """Sessions for people. Webhooks skip the cost of opening one."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if request.path.startswith("/webhooks/"):
            return self.make_null_session(app)
        return super().open_session(app, request)


def protect(app: Flask, *, secure_cookies: bool, passwords: Mapping[Role, str | None]) -> None:
    """Sets up session cookies, which end with the password that opened them, and security headers."""
    app.session_interface = PagesOnlySessions()
    key = str(app.secret_key).encode()
    app.extensions["password_prints"] = {
        role: hmac.digest(key, f"{role}:{password}".encode(), "sha256").hex()[:24]
        for role, password in passwords.items()
        if password is not None
    }
    app.config.update(
        SESSION_COOKIE_NAME="__Host-bridge" if secure_cookies else "bridge",  # so that no neighbouring host can set it
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure_cookies,
    )

    @app.after_request
    def add_headers(response: Any) -> Any:
        if request.path.startswith("/webhooks/"):
            return response
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if response.mimetype in ("text/html", "application/json"):
            response.headers["Cache-Control"] = "no-store"
        return response
