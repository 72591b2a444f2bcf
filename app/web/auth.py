"""Authentication: a session for people (with throttled login and CSRF tokens), a bearer token for programs."""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Request, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest, Forbidden, Unauthorized

from app.ledger import sessions
from app.ledger.access.roles import Role, may
from app.ledger.access.tokens import Bearer, bearer_of, is_token
from app.ledger.access.users import User, has_users, user_of_session
from app.ledger.engine import Ledger

View = TypeVar("View", bound=Callable[..., Any])
SESSION_SECONDS = 12 * 3600
LONGEST_NAME = 40
SHARED = "shared password"
CHANGES_NOTHING = ("dashboard.logout", "playground.try_body")
"""Forms that a read-only login may send."""

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


def same(sent: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode())


def log_in(name: str, shared: Role) -> None:
    """Starts a session for a login with a password of the environment. A viewer changes nothing.

    If there are named users, the typed name is marked, so that the audit log does not confuse it with one of theirs.
    """
    typed = "".join(c for c in name if c.isprintable())[:LONGEST_NAME] or shared
    with _ledger().read() as tx:
        is_marked = has_users(tx)
    _begin(f"{typed} ({SHARED})" if is_marked else typed, shared)
    session["password"] = current_app.extensions["password_prints"][shared]


def log_in_user(user: User) -> None:
    """Starts a session for a named user, which ends with `user.session_key`."""
    _begin(user.name, user.role)
    session["user"] = user.id
    session["sso"] = user.issuer is not None
    session["key"] = user.session_key


def came_through_provider() -> bool:
    """Whether the session was opened by single sign-on."""
    return session.get("sso") is True


def _begin(name: str, its_role: Role) -> None:
    session.clear()
    session["id"] = secrets.token_urlsafe(12)
    session["name"] = name  # it goes into the audit log
    session["role"] = its_role
    session["csrf"] = secrets.token_urlsafe(24)
    session["until"] = time.time() + SESSION_SECONDS
    session["epoch"] = sessions.epoch(_ledger())


def logged_in() -> bool:
    """Whether there is a valid session: not expired, not logged out, and its user or password unchanged."""
    if not session.get("name") or float(session.get("until", 0)) <= time.time():
        return False
    if "user" in session:
        with _ledger().read() as tx:
            if user_of_session(tx, int(session["user"]), str(session.get("key"))) is None:
                return False
    else:
        prints: Mapping[str, str] = current_app.extensions["password_prints"]
        if session.get("password", "") != prints.get(str(session.get("role"))):
            return False
    return sessions.is_open(_ledger(), str(session.get("id")), int(session.get("epoch", -1)))


def user_id() -> int | None:
    """The ID of the named user of this session; None for a password of the environment."""
    return int(session["user"]) if "user" in session else None


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


def role() -> str | None:
    """The role of the sender of this request: that of their session or, in the API, of their token."""
    return g.role if "role" in g else session.get("role")


def is_operator() -> bool:
    return may(role(), "operator")


def is_viewer() -> bool:
    """Whether email addresses are masked."""
    return role() == "viewer"


def is_admin() -> bool:
    """Whether the sender may manage users: admins, and everyone who knows DASHBOARD_PASSWORD."""
    return may(role(), "admin") or (is_operator() and user_id() is None)


def _requires(is_allowed: Callable[[], bool], refusal: str) -> Callable[[View], View]:
    """A decorator of pages, below login_required, that answers 403 unless `is_allowed`."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not is_allowed():
                raise Forbidden(refusal)
            return view(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    return decorate


admin_required = _requires(is_admin, "only an admin manages users")
"""Decorates pages, below login_required, that only an admin may see."""
operator_required = _requires(is_operator, "this login is read-only")
"""Decorates pages, below login_required, that only an operator may see."""


OWN_ACCOUNT = "is_of_own_account"


def own_account(view: View) -> View:
    """Decorates pages, below login_required, that change only the account of the logged-in user."""
    guarded = _requires(lambda: user_id() is not None, "a shared password has no account: sign in as a named user")(
        view
    )
    vars(guarded)[OWN_ACCOUNT] = True
    return guarded


def login_required(view: View) -> View:
    """Decorates pages: redirects to the login without a session. Changes need the session's CSRF token, and, unless they
    concern the user's own account, the role operator."""
    is_own = vars(view).get(OWN_ACCOUNT, False)

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not logged_in():
            session.clear()
            if request.method != "GET":
                raise Unauthorized("log in first")
            return redirect(url_for("dashboard.login", next=request.full_path.removesuffix("?")))
        if request.method not in ("GET", "HEAD"):
            check_csrf()
            if not is_operator() and not is_own and request.endpoint not in CHANGES_NOTHING:
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
    """Raises Unauthorized unless the request has API_TOKEN (`token`) or the token of a user; Forbidden if it has no token of a
    user and there is no API_TOKEN."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    credentials = credentials.strip() if scheme.lower() == "bearer" else ""
    if token is not None and same(credentials, token):
        g.role = "admin"
        return
    if is_token(credentials):
        g.bearer = bearer_of(_ledger(), credentials)
        if g.bearer is None:
            raise Unauthorized("this token is wrong, revoked or expired, or its user is disabled")
        g.role = g.bearer.role
        return
    if token is None:
        raise Forbidden("set API_TOKEN to open the API, or send the API token of a user")
    raise Unauthorized("send Authorization: Bearer API_TOKEN, or the API token of a user")


def bearer() -> Bearer | None:
    """The token of a user that this request to the API was sent with; None for API_TOKEN."""
    sender: Bearer | None = g.get("bearer")
    return sender


def check_bearer_may(required: Role) -> None:
    """Raises Forbidden unless the sender of this API request has the permissions of the role `required`."""
    if not may(role(), required):
        raise Forbidden(f"this token has the role {role()}, and this needs the role {required}")


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
        SESSION_COOKIE_NAME="__Host-bridge" if secure_cookies else "bridge",  # so that no sibling host can set it
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
