"""Who may see and change: a session for people (with throttled login and CSRF tokens), a bearer token for programs."""

import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar

from flask import Flask, Request, current_app, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest, Forbidden, TooManyRequests, Unauthorized

from app.ledger import sessions
from app.ledger.engine import Ledger

View = TypeVar("View", bound=Callable[..., Any])
MOST_FAILURES = 8
FAILURE_WINDOW_SECONDS = 60.0
SESSION_SECONDS = 12 * 3600

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


class Throttle:
    """At most 8 failed logins a minute for the whole bridge: a password of ours is random, so nobody needs more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: deque[float] = deque()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises TooManyRequests while too many have failed."""
        with self._lock:
            while self._failures and self._clock() - self._failures[0] > FAILURE_WINDOW_SECONDS:
                self._failures.popleft()
            if len(self._failures) >= MOST_FAILURES:
                raise TooManyRequests("too many failed logins: wait a minute")

    def failed(self) -> None:
        with self._lock:
            self._failures.append(self._clock())


def same(given: str, wanted: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def log_in(name: str, role: Literal["operator", "viewer"]) -> None:
    """Begins a session for somebody who typed `name`. A viewer sees everything and changes nothing."""
    session.clear()
    session["name"] = "".join(c for c in name if c.isprintable())[:40] or role  # it goes into the audit log
    session["role"] = role
    session["csrf"] = secrets.token_urlsafe(24)
    session["until"] = time.time() + SESSION_SECONDS
    session["epoch"] = sessions.epoch(_ledger())


def logged_in() -> bool:
    if not session.get("name") or float(session.get("until", 0)) <= time.time():
        return False
    return session.get("epoch") == sessions.epoch(_ledger())


def log_out_everybody(ledger: Ledger, actor: str) -> None:
    """Ends every session there is, on every machine."""
    sessions.end_all(ledger, actor)


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["ledger"]
    return ledger


def is_operator() -> bool:
    return session.get("role") == "operator"


def login_required(view: View) -> View:
    """For pages: shows the login instead; changes need an operator and the session's CSRF token besides."""

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
                raise Forbidden("this login may look, and change nothing")
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def operator_required(view: View) -> View:
    """For pages, below login_required, that only make sense for somebody who may change things."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not is_operator():
            raise Forbidden("this login may look, and change nothing")
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def check_csrf() -> None:
    """Raises BadRequest unless the form carries this session's token."""
    if not same(request.form.get("csrf", ""), session.get("csrf") or secrets.token_urlsafe()):
        raise BadRequest("this form is too old: reload the page and try again")


def check_bearer(token: str | None) -> None:
    """Raises Forbidden where no API token is configured, Unauthorized where another one is given."""
    if token is None:
        raise Forbidden("set API_TOKEN to open the API")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not same(given.strip(), token):
        raise Unauthorized("send Authorization: Bearer API_TOKEN")


class PagesOnlySessions(SecureCookieSessionInterface):
    """Sessions for people. A webhook has none, and need not pay for the signing machinery that opening one sets up."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if request.path.startswith("/webhooks/"):
            return self.make_null_session(app)
        return super().open_session(app, request)


def protect(app: Flask, *, secure_cookies: bool) -> None:
    """Session cookies and security headers."""
    app.session_interface = PagesOnlySessions()
    app.config.update(
        SESSION_COOKIE_NAME="bridge",
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
        if response.mimetype in ("text/html", "application/json"):
            response.headers["Cache-Control"] = "no-store"
        return response
