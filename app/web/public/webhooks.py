"""The webhook routes. The raw body is read before anything parses it, and 200 means that the event is on disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from flask import Blueprint, Response, request
from pydantic_core import to_json
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from app.errors import LedgerUnavailable, MalformedEvent, SetupRequest, SignatureError, SourceError
from app.intake.quarantine import Request
from app.intake.verify_and_map import Intake
from app.ledger.recording.arrival import Receipt
from app.logs import Sampler, correlation_id, log_info
from app.model import Inbound
from app.telemetry.measures import REFUSED, WEBHOOK_SECONDS, WEBHOOKS, Measures
from app.telemetry.tracing import Tracing
from app.web.throttle import Network, client_of, network_of

LARGEST_BODY = 1024 * 1024

log = structlog.get_logger(__name__)


class Answers:
    """Answers webhooks, and counts and logs them, for this view and the gateway.

    refused(source, reason, error, size, request) is called for each refused request, for pages and alerts.
    """

    def __init__(
        self,
        measures: Measures,
        refused: Callable[[str, str, SourceError, int, Request], None],
        tracing: Tracing | None = None,
    ) -> None:
        self._measures = measures
        self._tracing = tracing
        self._refused = refused
        self._sampler = Sampler()

    def accepted(self, source: str, receipt: Receipt, seconds: float) -> bytes:
        """The body of the 200 for a recorded event. seconds: since the request arrived."""
        self._measures.count(WEBHOOKS, source, receipt.outcome)
        self._measures.observe(WEBHOOK_SECONDS, seconds, source)
        return to_json({"outcome": receipt.outcome, "event_id": receipt.event_id, "reason": receipt.reason})

    def log_received(self, source: str, receipt: Receipt, seconds: float, size: int, received_at: float) -> None:
        """Logs a webhook recorded at `received_at` (seconds since 1970). The lines of its attempts have the same correlation_id."""
        fields = {
            "source": source,
            "outcome": receipt.outcome,
            "correlation_id": correlation_id(receipt.id),
            "duration_ms": round(seconds * 1000, 1),
            "bytes": size,
        }
        log_info("event.received", received_at, fields)
        if self._tracing is not None:
            self._tracing.webhook(
                receipt.id,
                source=source,
                outcome=receipt.outcome,
                received_at=received_at,
                seconds=seconds,
                size=size,
                is_first=not receipt.is_repeat,
            )

    def unavailable(self, source: str) -> None:
        """Records that the ledger rejected an event: the provider sends it again."""
        self._measures.count(WEBHOOKS, source, "unavailable")

    def pinged(self, source: str, ping: SetupRequest) -> bytes:
        """The body of the 200 for a provider that tests the URL. Nothing is recorded."""
        self._measures.count(WEBHOOKS, source, "ping")
        log.info("event.ping", source=source, reason=str(ping))
        return to_json({"outcome": "ignored", "event_id": None, "reason": str(ping)})

    def refuse(self, source: str, error: SourceError, size: int, request: Request) -> None:
        """Records that a request was refused. size: of its body."""
        if isinstance(error, SignatureError):
            self._count(source, "refused", error.reason)
            self._refused(source, error.reason, error, size, request)
            if (more := self._sampler.admit(f"{source} {error.reason}")) is not None:
                log.warning("event.refused", source=source, reason=str(error), bytes=size, **more)
        elif isinstance(error, MalformedEvent):
            self._count(source, "unreadable", "unreadable")
            self._refused(source, "unreadable", error, size, request)
            if (more := self._sampler.admit(f"{source} unreadable")) is not None:
                log.warning("event.unreadable", source=source, reason=str(error), bytes=size, **more)
        else:
            self._measures.count(WEBHOOKS, "unknown", "unknown")

    def _count(self, source: str, result: str, reason: str) -> None:
        self._measures.count(WEBHOOKS, source, result)
        self._measures.count(REFUSED, source, reason)


def create_blueprint(
    intake: Intake, public_url: str | None, answers: Answers, proxies: Sequence[Network] = ()
) -> Blueprint:
    """proxies: addresses whose X-Forwarded-For is trusted."""
    blueprint = Blueprint("webhooks", __name__)
    base = public_url or ""

    @blueprint.post("/webhooks/<source>")
    @blueprint.post("/webhooks/<source>/<token>")
    def receive(source: str, token: str | None = None) -> Response:
        size, began = request.content_length or 0, time.perf_counter()
        path, now = request.full_path.removesuffix("?"), datetime.now(UTC)
        headers = {name.lower(): value for name, value in request.headers.items()}
        inbound = Inbound(b"", headers, base + path if base else "")
        try:
            intake.admit_body(source, token)
            inbound, now = replace(inbound, body=whole_body()), datetime.now(UTC)
            receipt = intake.take(source, inbound, token, now)
        except SetupRequest as ping:
            return Response(answers.pinged(source, ping), 200, content_type="application/json")
        except SourceError as error:
            client = client_of(request.remote_addr or "", headers.get("x-forwarded-for", ""), proxies)
            answers.refuse(source, error, size, Request(inbound, token, network_of(client), now))
            raise
        except LedgerUnavailable:
            answers.unavailable(source)
            raise
        log.debug("event.received", source=source, id=receipt.id, outcome=receipt.outcome)
        return Response(
            answers.accepted(source, receipt, time.perf_counter() - began), 200, content_type="application/json"
        )

    @blueprint.get("/webhooks/<source>")
    @blueprint.get("/webhooks/<source>/<token>")
    def describe(source: str, token: str | None = None) -> Response:
        """Answers people who open the URL in a browser, and providers that check whether it exists. Not counted."""
        title = intake.admit(source, token).title
        text = f"This is Conversion Bridge's webhook address for {title}. It is configured and takes POST only.\n"
        return Response(text, 200, content_type="text/plain; charset=utf-8")

    return blueprint


def whole_body() -> bytes:
    """The raw body.

    Raises RequestEntityTooLarge, or BadRequest if the connection ended early: half a form reads like a whole one, and a source
    that does not sign would make it an event.
    """
    if (request.content_length or 0) > LARGEST_BODY:
        raise RequestEntityTooLarge
    body = request.get_data(cache=True)
    if len(body) > LARGEST_BODY:
        raise RequestEntityTooLarge
    if request.content_length is not None and len(body) != request.content_length:
        raise BadRequest("the body ended early")
    return body
