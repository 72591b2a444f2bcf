"""Where providers post. The raw bytes are read before anything could parse them, and 200 means that the event is on disk."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from flask import Blueprint, Response, request
from pydantic_core import to_json
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from app.errors import MalformedEvent, SetupRequest, SignatureError, UnknownSource
from app.intake.verify_and_map import Intake
from app.ledger.recording.arrival import Receipt
from app.model import Inbound

LARGEST_BODY = 1024 * 1024

log = structlog.get_logger(__name__)


def create_blueprint(
    intake: Intake, public_url: str | None, count: Callable[[str, str], None], refused: Callable[[str, str], None]
) -> Blueprint:
    """count(source, result) is told of every answer, for /metrics; refused(source, reason) of each that was refused."""
    blueprint = Blueprint("webhooks", __name__)
    base = public_url or ""

    @blueprint.post("/webhooks/<source>")
    @blueprint.post("/webhooks/<source>/<token>")
    def receive(source: str, token: str | None = None) -> Response:
        body = whole_body()
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.full_path.removesuffix("?")
        inbound = Inbound(body, headers, base + path if base else "")
        try:
            receipt = intake.take(source, inbound, token, datetime.now(UTC))
        except SetupRequest as ping:
            count(source, "ping")
            log.info("event.ping", source=source, reason=str(ping))
            answer = {"outcome": "ignored", "event_id": None, "reason": str(ping)}
            return Response(to_json(answer), 200, content_type="application/json")
        except SignatureError as error:
            count(source, "refused")
            refused(source, error.reason)
            log.warning("event.refused", source=source, reason=str(error), bytes=len(body))
            raise
        except MalformedEvent as error:
            count(source, "unreadable")
            refused(source, "unreadable")
            log.warning("event.unreadable", source=source, reason=str(error), bytes=len(body))
            raise
        except UnknownSource:
            count("unknown", "unknown")
            raise
        count(source, receipt.outcome)
        log.debug("event.received", source=source, id=receipt.id, outcome=receipt.outcome)
        return Response(told(receipt), 200, content_type="application/json")

    return blueprint


def told(receipt: Receipt) -> bytes:
    """What an authentic webhook is answered."""
    return to_json({"outcome": receipt.outcome, "event_id": receipt.event_id, "reason": receipt.reason})


def whole_body() -> bytes:
    """The raw body. Raises RequestEntityTooLarge, or BadRequest where the connection ended before all of it came: half a form
    can be read like a whole one, and a source that does not sign would make an event of it."""
    if (request.content_length or 0) > LARGEST_BODY:
        raise RequestEntityTooLarge
    body = request.get_data(cache=True)
    if len(body) > LARGEST_BODY:
        raise RequestEntityTooLarge
    if request.content_length is not None and len(body) != request.content_length:
        raise BadRequest("the body ended early")
    return body
