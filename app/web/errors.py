"""The one table that turns errors into HTTP answers."""

from typing import Any

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.errors import (
    BridgeError,
    DeliveryNotFound,
    LedgerUnavailable,
    MalformedEvent,
    SignatureError,
    UnknownSource,
)

STATUS: dict[type[BridgeError], int] = {
    MalformedEvent: 400,
    SignatureError: 401,
    UnknownSource: 404,
    DeliveryNotFound: 404,
    LedgerUnavailable: 503,
}
RETRY_AFTER_SECONDS = "5"
TOO_LARGE = "the body is larger than 1 MiB"
MACHINE_PATHS = ("/webhooks/", "/api/", "/sandbox/track/", "/healthz", "/readyz", "/metrics")

log = structlog.get_logger(__name__)


def status_of(error: BridgeError) -> int:
    """The HTTP status of an error; 500 for one that should have been handled."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def answer(message: str, status: int) -> Response:
    """An error as JSON, with Retry-After where trying again helps."""
    response = jsonify(error=message)
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def install(app: Flask) -> None:
    """Registers the handlers. A webhook is never answered 500: what we could not handle, the provider should send again."""

    @app.errorhandler(BridgeError)
    def on_bridge_error(error: BridgeError) -> Any:
        return answer(str(error), status_of(error))

    @app.errorhandler(HTTPException)
    def on_http_error(error: HTTPException) -> Any:
        if not request.path.startswith(MACHINE_PATHS):
            return error
        too_large = isinstance(error, RequestEntityTooLarge)
        message = TOO_LARGE if too_large else error.description or error.name
        response = answer(message, error.code or 500)
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
            return answer("this could not be handled now; please send it again", 503)
        return answer("something went wrong here; the log says what", 500)
