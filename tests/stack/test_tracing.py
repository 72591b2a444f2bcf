"""OpenTelemetry: one trace from the webhook to the attempt, exported to a collector, and named to the destination."""

import os
from collections.abc import Callable

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.telemetry.tracing import TraceIds, is_asked_for
from tests.conftest import FakeDestination, wait_for
from tests.support.stack_parts import Stack

pytestmark = pytest.mark.stack


def spans_of(collector: FakeDestination) -> list[Span]:
    """Those that were exported, by OTLP over HTTP."""
    found = []
    for request in list(collector.requests):
        assert request["path"] == "/v1/traces"
        export = ExportTraceServiceRequest.FromString(request["body"])
        found += [span for resource in export.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return found


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_one_trace_leads_from_the_webhook_to_every_attempt_and_the_destination_is_told_of_it(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], destination: FakeDestination
) -> None:
    collector = FakeDestination()
    refusals = iter([503])
    destination.answer = lambda _request: (next(refusals, 200), {}, b"{}")
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    try:
        stack = make_stack(DESTINATION_TRACEPARENT="1", **settings)
        stack.serve()
        stack.start("worker")
        body = make_purchase()
        assert stack.post_all([body]) == [200]
        wait_for(lambda: stack.counts() == {"delivered": 1})
        assert stack.post_all([body]) == [200]
        wait_for(lambda: len(spans_of(collector)) == 4)
        spans = sorted(spans_of(collector), key=lambda span: span.start_time_unix_nano)
        assert [span.name for span in spans] == ["webhook stripe", "attempt main", "attempt main", "webhook stripe"]
        assert len({span.trace_id for span in spans}) == 1
        assert len({span.span_id for span in spans}) == 4
        root, *others = spans
        assert not root.parent_span_id
        assert {span.parent_span_id for span in others} == {root.span_id}
        facts = {one.key: one.value for one in spans[1].attributes}
        assert facts["http.response.status_code"].int_value == 503
        assert facts["bridge.destination"].string_value == "main"
        sent = [request["headers"]["traceparent"] for request in destination.requests]
        assert sent == [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in spans[1:3]]
    finally:
        collector.close()


def test_nothing_is_asked_for_without_a_variable_that_does() -> None:
    assert not is_asked_for({})
    assert not is_asked_for({"OTEL_SERVICE_NAME": "bridge"})
    assert is_asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert is_asked_for({"OTEL_TRACES_EXPORTER": "console"})
    assert not is_asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"})
    assert not is_asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"})
    assert not any(name.startswith("OTEL_") for name in os.environ)


def test_no_two_ledgers_share_a_trace() -> None:
    assert TraceIds(1).trace(7) != TraceIds(2).trace(7)
    assert TraceIds(1).traceparent(7, 8, 1) != TraceIds(1).traceparent(7, 8, 2)
