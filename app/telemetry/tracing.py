"""OpenTelemetry: one trace for each event, from its webhook to the last attempt of its deliveries.

The IDs of a trace are derived from the event, so that web and worker agree on them without storing or passing anything. `seed`
is a random number of the ledger. Spans are created when they are over, next to the log line, so nothing waits for them. None
of this is used without the extra, or without an OTEL_… variable that asks for it.
"""

import hashlib
import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from app import OTEL_METRICS
from app.telemetry.build import build

if TYPE_CHECKING:
    from opentelemetry.context import Context

EXPORTER = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
OWN_SERVICE = "conversion-bridge"

log = structlog.get_logger(__name__)


def is_asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the standard variables ask for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get(EXPORTER, "").lower()
    return exporter in ("otlp", "console") or (exporter == "" and any(environment.get(name) for name in ENDPOINTS))


class TraceIds:
    """The ids of the traces of one ledger."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def trace(self, event: int) -> int:
        return self._number(16, event)

    def webhook(self, event: int) -> int:
        """The ID of the webhook's span, the parent of all attempts."""
        return self._number(8, event, "webhook")

    def attempt(self, event: int, delivery: int, number: int) -> int:
        return self._number(8, event, delivery, number)

    def traceparent(self, event: int, delivery: int, number: int) -> str:
        """The header of an attempt: https://www.w3.org/TR/trace-context/"""
        return f"00-{self.trace(event):032x}-{self.attempt(event, delivery, number):016x}-01"

    def _number(self, size: int, *parts: object) -> int:
        text = ":".join(str(part) for part in (self._seed, *parts))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1


class Tracing:
    """Makes the spans of one process, and exports them as the OTEL_… variables say."""

    def __init__(self, ids: TraceIds, role: str) -> None:
        if sys.modules.get(OTEL_METRICS, sys) is None:
            del sys.modules[OTEL_METRICS]
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._ids = ids
        self._next = _NextIds()
        resource = Resource.create(
            {"service.name": OWN_SERVICE, "service.version": build()["version"], "bridge.role": role}
        )
        if name := os.environ.get("OTEL_SERVICE_NAME"):
            resource = resource.merge(Resource({"service.name": name}))
        self._provider = TracerProvider(resource=resource, id_generator=self._next.generator())
        self._provider.add_span_processor(BatchSpanProcessor(_exporter()))
        self._tracer = self._provider.get_tracer(OWN_SERVICE)

    def webhook(
        self, event: int, *, source: str, outcome: str, received_at: float, seconds: float, size: int, is_first: bool
    ) -> None:
        """at: when it was recorded, seconds since 1970. is_first: the event was not known before."""
        self._next.trace, self._next.span = self._ids.trace(event), self._ids.webhook(event) if is_first else 0
        facts = {
            "bridge.source": source,
            "bridge.outcome": outcome,
            "bridge.event": event,
            "http.request.body.size": size,
        }
        self._record(
            f"webhook {source}",
            None if is_first else self._parent(event),
            (received_at - seconds, received_at),
            {**facts, "http.request.method": "POST", "http.response.status_code": 200},
            "SERVER",
        )

    def attempt(
        self,
        event: int,
        delivery: int,
        number: int,
        *,
        destination: str,
        result: str,
        status: int | None,
        error: str | None,
        started_at: float,
        seconds: float,
    ) -> None:
        """One request to a destination. started_at: seconds since 1970."""
        self._next.span = self._ids.attempt(event, delivery, number)
        facts = {"bridge.destination": destination, "bridge.result": result, "bridge.delivery": delivery}
        facts |= {"bridge.attempt": number, "bridge.event": event}
        if status is not None:
            facts["http.response.status_code"] = status
        failed = None if result in ("delivered", "continued", "unattributed") else error or result
        span = (started_at, started_at + seconds)
        self._record(f"attempt {destination}", self._parent(event), span, facts, "CLIENT", failed)

    def close(self) -> None:
        """Exports what is left. Idempotent."""
        self._provider.shutdown()

    def _parent(self, event: int) -> "Context":
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        trace = self._ids.trace(event)
        decision: Any = self._provider.sampler.should_sample(None, trace, "webhook").decision
        flags = TraceFlags(TraceFlags.SAMPLED if decision.is_sampled() else TraceFlags.DEFAULT)
        context = SpanContext(trace, self._ids.webhook(event), is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(context))

    def _record(
        self,
        name: str,
        parent: "Context | None",
        lasted: tuple[float, float],
        facts: Mapping[str, Any],
        kind: str,
        failed: str | None = None,
    ) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, Status, StatusCode

        began, ended = (int(seconds * 1e9) for seconds in lasted)
        context = Context() if parent is None else parent
        span = self._tracer.start_span(name, context, SpanKind[kind], attributes=facts, start_time=began)
        if failed is not None:
            span.set_status(Status(StatusCode.ERROR, failed))
        span.end(ended)


class _NextIds(threading.local):
    """The IDs of the next span of this thread."""

    trace = 0
    span = 0

    def generator(self) -> Any:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        following = self

        class Generator(RandomIdGenerator):
            def generate_trace_id(self) -> int:
                return following.trace or super().generate_trace_id()

            def generate_span_id(self) -> int:
                return following.span or super().generate_span_id()

        return Generator()


def _exporter() -> Any:
    if os.environ.get(EXPORTER, "").lower() == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def start_tracing(ids: TraceIds, role: str) -> Tracing | None:
    """Tracing; None if no variable asks for it or the extra is not installed."""
    if not is_asked_for():
        return None
    try:
        return Tracing(ids, role)
    except ImportError:
        log.warning("tracing.unavailable", remedy="install conversion-bridge[otel], or set OTEL_SDK_DISABLED=true")
        return None
