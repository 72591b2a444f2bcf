"""The sandbox: it takes what the destination would take, and names what it would not."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic_core import to_json
from werkzeug.test import TestResponse

from app.config.settings import Settings
from app.destinations.credentials import NO_CREDENTIALS, Credentials
from app.destinations.formats.base import HttpRequest, Sent
from app.destinations.formats.events import Events
from app.destinations.http import Answer as Said
from app.destinations.target import Destination, destinations_of, sandbox_token
from app.ledger.engine import Ledger
from app.model import DeliveryKind
from app.web.public.sandbox import create_blueprint
from tests.support.formats import FORMATS
from tests.support.makers import begin, checkout, count, one, signed
from tests.web.conftest import Browser

TOKEN = sandbox_token("secret key of the tests")
LEAD = {"event": "lead", "timestamp": "2026-04-10T12:34:56.000Z", "customerExternalId": "user_1"}
SALE = {**LEAD, "event": "sale", "currency": "USD", "amount": 19.99, "invoiceId": "in_1"}
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def send(web: FlaskClient) -> Callable[..., TestResponse]:
    def post(kind: str, payload: object, token: str = TOKEN, key: str = "k") -> TestResponse:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "Content-Type": "application/json"}
        return web.post(f"/sandbox/track/{kind}", data=body, headers=headers)

    return post


def test_right_payloads_are_taken_and_shown(
    send: Callable[..., TestResponse], browser: Browser, ledger: Ledger
) -> None:
    assert send("lead", {**LEAD, "mode": "deferred", "email": "a@b.co", "name": "A", "phone": "+1"}).status_code == 200
    assert send("sale", {**SALE, "clickId": "clk_1", "orderId": "o", "metadata": {"a": 1}}, key="k2").status_code == 200
    assert send("sale", {**SALE, "amount": 500}, key="k2").status_code == 200
    assert count(ledger, "sandbox_requests") == 3
    page = browser.get("/sandbox").text
    assert page.count(">accepted<") == 2
    assert page.count(">repeated<") == 1


@sqlite_alone
@pytest.mark.parametrize(
    ("kind", "payload", "named"),
    [
        ("lead", {k: v for k, v in LEAD.items() if k != "timestamp"}, "timestamp"),
        ("lead", {**LEAD, "timestamp": "2026-04-10T12:34:56Z"}, "timestamp"),
        ("lead", {**LEAD, "timestamp": "2026-13-40T12:34:56.000Z"}, "timestamp"),
        ("lead", {**LEAD, "timestamp": 1780000000}, "timestamp"),
        ("lead", {**LEAD, "customerExternalId": ""}, "customerExternalId"),
        ("lead", {**LEAD, "customerExternalId": 7}, "customerExternalId"),
        ("lead", {**LEAD, "email": None}, "email"),
        ("lead", {**LEAD, "email": "nobody"}, "email"),
        ("lead", {**LEAD, "name": ""}, "name"),
        ("lead", {**LEAD, "metadata": {}}, "metadata"),
        ("lead", {**LEAD, "mode": "eager"}, "mode"),
        ("lead", {**LEAD, "colour": "red"}, "colour"),
        ("lead", SALE, "event"),
        ("sale", LEAD, "event"),
        ("sale", {**SALE, "amount": "19.99"}, "amount"),
        ("sale", {**SALE, "amount": 0}, "amount"),
        ("sale", {**SALE, "amount": True}, "amount"),
        ("sale", {**SALE, "currency": "usd"}, "currency"),
        ("sale", {k: v for k, v in SALE.items() if k != "invoiceId"}, "invoiceId"),
        ("sale", b"[]", "object"),
        ("sale", b"", "object"),
        ("sale", b"{nope", "object"),
        ("sale", b"[" * 100_000, "object"),
        ("sale", b"\xff\x00", "object"),
    ],
)
def test_a_wrong_payload_is_422_and_says_what_is_wrong(
    send: Callable[..., TestResponse], ledger: Ledger, kind: str, payload: bytes | dict[str, Any], named: str
) -> None:
    answer = send(kind, payload)
    assert answer.status_code == 422
    assert named in answer.get_json()["error"]
    assert one(ledger, "SELECT problem FROM sandbox_requests") == (answer.get_json()["error"],)


def test_what_the_database_could_not_hold_is_kept_as_far_as_it_can_be(
    send: Callable[..., TestResponse], browser: Browser, ledger: Ledger
) -> None:
    assert send("lead", b'{"a": "\x00\xff"}').status_code == 422
    assert send("lead", json.dumps({**LEAD, "name": "\x00<script>x</script>"}).encode()).status_code == 200
    assert send("lead", json.dumps({**LEAD, "name": "\ud83d"}).encode()).status_code == 422
    assert "<script>x" not in browser.get("/sandbox").text
    assert count(ledger, "sandbox_requests") == 3


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_only_this_bridge_s_own_token_is_taken(
    send: Callable[..., TestResponse], web: FlaskClient, ledger: Ledger
) -> None:
    for token in ("", "wrong", "api token of the tests", "secret key of the tests", TOKEN[:-1], "\xe9"):
        assert send("sale", SALE, token=token).status_code == 401
    assert web.post("/sandbox/track/sale", json=SALE).status_code == 401
    assert send("refund", SALE).status_code == 404
    assert count(ledger, "sandbox_requests") == 0


@sqlite_alone
@pytest.mark.parametrize(("name", "currency"), [("track", "USD"), ("dub", "usd")])
def test_in_the_other_formats_what_they_require_is_checked(
    make_app: Callable[..., Flask], name: str, currency: str
) -> None:
    web = make_app(DESTINATION_FORMAT=name).test_client()
    right = {"eventName": "x", "customerExternalId": "u", "invoiceId": "in_1", "amount": 5, "currency": currency}
    required = {"track": ["eventName"], "dub": []}[name]
    for missing in (*required, "customerExternalId", "invoiceId", "amount", "currency"):
        payload = {k: v for k, v in right.items() if k != missing}
        answer = web.post("/sandbox/track/sale", json=payload, headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer.json) == (422, {"error": f"{missing} is missing"})
    assert web.post("/sandbox/track/sale", json=right, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@sqlite_alone
@pytest.mark.parametrize("name", FORMATS)
def test_what_the_bridge_sends_is_what_the_sandbox_takes(
    make_app: Callable[..., Flask], make_settings: Callable[..., Settings], ledger: Ledger, name: str
) -> None:
    app = make_app(DESTINATION_FORMAT=name)
    (destination,) = destinations_of(make_settings(DESTINATION_FORMAT=name))
    metadata = {"clickId": "clk_1", "user_id": "user_1", "ga_client_id": "GA1.1.123.456", "gclid": "Cj0KCQ"}
    event = {**json.loads(checkout(metadata=metadata)), "created": int(time.time())}
    assert app.test_client().post("/webhooks/stripe", **signed(json.dumps(event).encode())).status_code == 200
    (claimed,) = begin(ledger)
    if held := destination.format.not_sent("sale", claimed.payload):
        assert (name in ("tolt", "rewardful"), held.result) == (True, "unattributed")
        return
    asked = destination.request("sale", claimed.payload, claimed.dedupe_key, datetime.now(UTC))
    client = app.test_client()
    answer = client.open(f"/sandbox{asked.path}", method=asked.method, data=asked.body, headers=dict(asked.headers))
    verdict = destination.format.verdict(
        Said(answer.status_code, dict(answer.headers), answer.data), Sent("sale", "{}")
    )
    assert verdict.result == "delivered", answer.text
    assert one(ledger, "SELECT kind, problem FROM sandbox_requests") == ("sale", None)
    stranger = replace(destination, token="x" * 64, credentials=NO_CREDENTIALS)
    stranger = replace(stranger, credentials=Credentials(dict.fromkeys(destination.credentials.secrets, "/x")))
    asked = stranger.request("sale", claimed.payload, claimed.dedupe_key, datetime.now(UTC))
    answer = client.open(f"/sandbox{asked.path}", method=asked.method, data=asked.body, headers=dict(asked.headers))
    assert answer.status_code in (401, 404)


@sqlite_alone
def test_for_dub_an_organic_sale_is_unattributed_until_the_customer_is_known(make_app: Callable[..., Flask]) -> None:
    web = make_app(DESTINATION_FORMAT="dub").test_client()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    sale = {"customerExternalId": "50%_\\", "invoiceId": "in_1", "amount": 5, "currency": "usd"}
    lead = {"customerExternalId": "50%_\\", "eventName": "x", "clickId": ""}

    def post(kind: str, body: object) -> TestResponse:
        return web.post(f"/sandbox/track/{kind}", data=to_json(body), headers=headers, content_type="application/json")

    def is_counted() -> bool:
        return bool(json.loads(post("sale", sale).text)["sale"])

    assert not is_counted()
    refused = post("lead", lead)
    assert (refused.status_code, "clickId" in refused.text) == (400, True)
    assert post("lead", {**lead, "customerExternalId": "50aa\\", "clickId": "clk_1"}).status_code == 200
    assert not is_counted()
    assert post("lead", {**lead, "clickId": "clk_1"}).status_code == 200
    assert is_counted()


@sqlite_alone
def test_with_a_real_destination_there_is_no_sandbox(make_app: Callable[..., Flask]) -> None:
    app = make_app(DESTINATION_URL="https://destination.example", DESTINATION_TOKEN="a-token")
    answer = app.test_client().post("/sandbox/track/sale", json=SALE, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404


class Hook(Events):
    """A format with a path, method and header of its own."""

    def request(self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime) -> HttpRequest:
        return HttpRequest("PUT", f"/v2/{kind}s?version=1", {"X-Api-Key": token}, body.encode())


@sqlite_alone
def test_it_takes_what_any_format_asks_for(ledger: Ledger) -> None:
    app = Flask(__name__)
    app.register_blueprint(
        create_blueprint(ledger, "secret key of the tests", Destination("sandbox", "http://x", TOKEN, Hook()))
    )
    web = app.test_client()
    assert web.put("/sandbox/v2/sales", json=SALE, headers={"X-Api-Key": TOKEN}).status_code == 200
    assert web.put("/sandbox/v2/leads?version=1", json=LEAD, headers={"X-Api-Key": TOKEN}).status_code == 200
    assert web.put("/sandbox/v2/sales", json=LEAD, headers={"X-Api-Key": TOKEN}).status_code == 422
    assert web.put("/sandbox/v2/sales", json=SALE, headers={"X-Api-Key": "another"}).status_code == 401
    assert web.put("/sandbox/v2/sales", json=SALE, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert web.post("/sandbox/v2/sales", json=SALE, headers={"X-Api-Key": TOKEN}).status_code == 404
    assert web.put("/sandbox/track/sale", json=SALE, headers={"X-Api-Key": TOKEN}).status_code == 404
