"""The logs of a full run: every line is JSON and says what it should, and nothing in them is a secret or a person's."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from app.sources.catalog import example
from app.sources.typeform.source import SOURCE as TYPEFORM
from app.telemetry.build import build
from tests.conftest import PATIENCE_SECONDS, FakeDestination, wait_for
from tests.support.makers import checkout
from tests.support.stack_parts import FORM_SECRET, SECRET, Stack

pytestmark = pytest.mark.stack
TOKENS = {
    "API_TOKEN": "api-token-of-this-run",
    "METRICS_TOKEN": "metrics-token-of-this-run",
    "JOTFORM_PATH_TOKEN": "path-token-of-this-run",
    "DASHBOARD_VIEWER_PASSWORD": "viewer-password-of-this-run",
}
PERSONAL = ["quimby", "Quimby", "15550107788", "clk_quimby", "bodymark", "wrongpass-quux", "bad-token-quux"]


def say_everything(stack: Stack) -> None:
    """Sends good and bad requests of every kind, each with something that must not be in a log."""
    body = checkout(1, customer_details={"email": "quimby@example.com", "name": "Quimby", "phone": "+15550107788"},
                    metadata={"clickId": "clk_quimby", "note": "bodymark"})  # fmt: skip
    assert stack.post(body).status_code == 200
    assert stack.post(body).json()["outcome"] == "duplicate"
    assert stack.post(checkout(2, customer_details={}, metadata={"note": "bodymark"})).json()["outcome"] == "parked"
    assert stack.post(b'{"id": "bodymark quimby@example.com", ').status_code == 400
    assert (
        stack.post(b'{"id": "evt_x", "type": "checkout.session.completed", "data": "bodymark"}').json()["outcome"]
        == "ignored"
    )
    form = json.loads(example("typeform")[0].decode())
    form["form_response"]["answers"][1]["email"] = "quimby@example.com"
    raw = json.dumps(form).encode()

    def call(method: str, path: str, **options: Any) -> int:
        return requests.request(method, stack.url + path, timeout=PATIENCE_SECONDS, **options).status_code

    assert (
        call("POST", "/webhooks/typeform", data=raw, headers=TYPEFORM.sign(raw, FORM_SECRET, datetime.now(UTC))) == 200
    )
    for _ in range(40):
        signature = {"Stripe-Signature": "t=1,v1=bad-token-quux"}
        assert call("POST", "/webhooks/stripe", data=body, headers=signature) == 401
    assert call("POST", "/webhooks/jotform/bad-token-quux", data={"rawRequest": "bodymark"}) == 401
    call("POST", f"/webhooks/jotform/{TOKENS['JOTFORM_PATH_TOKEN']}", data={"rawRequest": "{bodymark", "formID": "1"})
    assert call("POST", "/webhooks/bodymark", data=body) == 404
    assert call("POST", "/webhooks/stripe?token=bad-token-quux", data=body) == 401
    assert call("POST", "/webhooks/stripe", data=b"bodymark" * 200_000) == 413
    assert call("POST", "/login", data={"password": "wrongpass-quux", "name": "Quimby"}) == 401
    session = requests.Session()
    login = {"password": "password of the tests", "name": "Quimby"}
    assert session.post(stack.url + "/login", data=login, timeout=PATIENCE_SECONDS).status_code == 200
    assert session.get(stack.url + "/search?q=quimby@example.com", timeout=PATIENCE_SECONDS).status_code == 200
    assert call("GET", "/api/v1/stats", headers={"Authorization": "Bearer bad-token-quux"}) == 401
    bearer = {"Authorization": f"Bearer {TOKENS['API_TOKEN']}"}
    assert call("GET", "/api/v1/events?q=quimby@example.com", headers=bearer) == 200
    assert call("GET", "/api/v1/deliveries/99", headers=bearer) == 404
    assert call("GET", "/metrics", headers={"Authorization": f"Bearer {TOKENS['METRICS_TOKEN']}"}) == 200


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_every_line_of_a_full_run_is_json_and_names_no_secret_and_nobody(
    make_stack: Callable[..., Stack], destination: FakeDestination
) -> None:
    stack = make_stack(LOG_LEVEL="debug", LOG_FORMAT="json", **TOKENS)
    answers = iter([500, 422])

    def repeat(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        status = next(answers, 200)
        said = {"error": f"no such person: {request['body'].decode()} {request['headers']['authorization']}"}
        return status, {"X-Echo": "quimby@example.com"}, json.dumps(said).encode()

    destination.answer = repeat
    web, worker = stack.start("web"), stack.start("worker")
    say_everything(stack)
    wait_for(lambda: sum(stack.counts().get(status, 0) for status in ("delivered", "dead")) == 2)
    for process in (worker, web):
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    text = stack.log_path.read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    secrets = [SECRET, FORM_SECRET, "password of the tests", "secret key of the tests", "token-of-the-tests"]
    for word in [*secrets, *TOKENS.values(), *PERSONAL]:
        found = next((line for line in text.splitlines() if word in line), "")
        assert not found, f"{word} is in {found}"
    assert not re.findall(r"[\w.+-]+@[\w-]+\.\w+", text)

    assert {"event", "level", "timestamp"} <= set.intersection(*(set(line) for line in lines))
    started = [line for line in lines if line["event"] == "process.started"]
    assert sorted(line["role"] for line in started) == ["web", "web parent", "worker"]
    assert all(line.items() >= build().items() for line in started)
    received = [line for line in lines if line["event"] == "event.received"]
    assert {line["outcome"] for line in received} == {"sale", "duplicate", "parked", "ignored", "lead"}
    of_conversions = {line["correlation_id"] for line in received if line["outcome"] in ("sale", "lead")}
    attempts = [line for line in lines if line["event"] in ("delivery.attempted", "delivery.dead")]
    assert len(attempts) == len(destination.requests) == 3
    assert {line["correlation_id"] for line in attempts} == of_conversions
    assert sorted(line["status"] for line in attempts) == [200, 422, 500]
    refused = [line for line in lines if line["event"] == "event.refused" and line["source"] == "stripe"]
    assert 5 < len(refused) <= 21, "of 41, by reason"
