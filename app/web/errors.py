"""Turns errors into HTTP responses: one table for all of them."""

from typing import Any

import structlog
from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from app.errors import (
    AccessError,
    BridgeError,
    DeliveryNotFound,
    DestinationNotFound,
    LedgerUnavailable,
    MalformedEvent,
    SignatureError,
    TokenNotFound,
    UnknownSource,
    UserNotFound,
)

STATUS: dict[type[BridgeError], int] = {
    MalformedEvent: 400,
    SignatureError: 401,
    UnknownSource: 404,
    DeliveryNotFound: 404,
    DestinationNotFound: 404,
    UserNotFound: 404,
    TokenNotFound: 404,
    AccessError: 409,
    LedgerUnavailable: 503,
}
RETRY_AFTER_SECONDS = "5"
MACHINE_PATHS = ("/webhooks/", "/api/", "/sandbox/", "/healthz", "/readyz", "/statusz", "/metrics")

TITLES = {
    400: "Bad request",
    401: "Log in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible",
    413: "Too large",
    422: "Invalid request",
    429: "Too many attempts",
    500: "Something went wrong",
    503: "Temporarily unavailable",
}
PLAIN = {
    404: "this page does not exist",
    405: "this page does not support that method",
    413: "the body is larger than 1 MiB",
}
"""Used instead of the library's own text."""

log = structlog.get_logger(__name__)


def status_of(error: BridgeError) -> int:
    """The HTTP status of an error; 500 for an unexpected one."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def answer(message: str, status: int) -> Response:
    """An error as JSON, with Retry-After if retrying helps."""
    response = jsonify(error=message)
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def error_response(message: str, status: int) -> Response:
    """An error as JSON for programs, or as a page for people."""
    if request.path.startswith(MACHINE_PATHS):
        return answer(message, status)
    page = render_template(
        "error.html", title=TITLES.get(status, "Something went wrong"), message=message, status=status
    )
    response = make_response(page, status)
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def install(app: Flask) -> None:
    """Registers the handlers. A webhook never gets a 500: the provider should send what we could not process again."""

    @app.errorhandler(BridgeError)
    def on_bridge_error(error: BridgeError) -> Any:
        if isinstance(error, LedgerUnavailable):
            log.warning("ledger.unavailable", error=str(error))
        return error_response(error.public, status_of(error))

    @app.errorhandler(HTTPException)
    def on_http_error(error: HTTPException) -> Any:
        status = error.code or 500
        if status < 400:
            return error
        is_default = error.description == type(error).description
        is_machine = request.path.startswith(MACHINE_PATHS) and status != 413
        plain = PLAIN.get(status) if is_default and not is_machine else None
        response = error_response(plain or error.description or error.name, status)
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def on_bug(error: Exception) -> Any:
        log.error(
            "request.failed", path=request.path if "/webhooks/" not in request.path else "/webhooks/…", exc_info=error
        )
        if request.path.startswith("/webhooks/"):
            return answer("this could not be processed now; please send it again", 503)
        return error_response("something went wrong; see the log", 500)
