"""Destinations of templates and presets, from the webhook to the request; and what is not sent at all."""

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from standardwebhooks import Webhook

from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.actions.replay import replay
from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.conftest import FakeDestination
from tests.support.makers import change, checkout, one, signed
from workers.forward import Forwarder

HEAD = '[destinations.crm]\nurl = "{url}/base"\nformat = "template"\nallow_private = true\n'
SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0LXdpdGgtbW9yZS10aGFuLTI0LWJ5dGVz")
STATES = "SELECT kind, status, last_error, attempts, due_at, claim FROM deliveries ORDER BY id"


@pytest.fixture
def run(
    make_settings: Callable[..., Settings], ledger: Ledger, destination: FakeDestination, tmp_path: Path
) -> Callable[..., None]:
    """Posts events and sends what is due, with this text of bridge.toml."""
    destination.answer = lambda request: (200, {}, b'{"ok": true}')

    def run(text: str, *bodies: bytes, **variables: str) -> None:
        path = tmp_path / "bridge.toml"
        path.write_text(HEAD.format(url=destination.url) + text)
        settings = make_settings(BRIDGE_CONFIG=str(path), STRIPE_ALLOW_TEST_EVENTS="1", STRIPE_HOLD="0", **variables)
        app: Flask = create_app(settings, ledger)
        for body in bodies:
            answer = app.test_client().post("/webhooks/stripe", **signed(body))
            assert answer.status_code == 200, answer.text
        app.extensions["writer"].stop()
        app.extensions["refusals"].stop()
        forwarder = Forwarder(ledger, destinations_of(settings), (0.1,), 900, threading.Event())
        forwarder.run(lambda: None)
        forwarder.close()

    return run


def at_now(body: bytes, seconds_ago: float = 0) -> bytes:
    """The event, made so long ago."""
    event = json.loads(body)
    event["created"] = int(time.time() - seconds_ago)
    return json.dumps(event).encode()


def states(ledger: Ledger) -> list[Any]:
    with ledger.read() as tx:
        return [tuple(row) for row in tx.run(STATES).all()]


def test_a_template_sends_its_request_signed_by_standard_webhooks(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    run(
        'sale = {path = "/in", headers = {X-Version = "to_string(`2`)"}, body = {id = "sale.invoice_id", to = "email"}}\n'
        '[destinations.crm.signature]\nsecret_env = "CRM_SECRETS"\n',
        checkout(1),
        CRM_SECRETS=",".join(SECRETS),
    )
    (request,) = destination.requests
    assert (request["path"], request["headers"]["x-version"]) == ("/base/in", "2")
    assert json.loads(request["body"]) == {"id": "pi_1", "to": "p1@example.com"}
    assert request["headers"]["webhook-id"] == "sale:stripe:pi_1"
    assert "authorization" not in request["headers"]
    for secret in SECRETS:
        Webhook(secret).verify(request["body"], request["headers"])
    assert states(ledger) == [("sale", "delivered", None, 1, None, None)]
    assert one(ledger, "SELECT payload FROM deliveries")[0] == '{"id":"pi_1","to":"p1@example.com"}'


def test_a_signed_endpoint_that_is_gone_pauses_and_loses_nothing(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    destination.answer = lambda request: (410, {}, b"")
    text = 'sale.path = "/in"\n[destinations.crm.signature]\nsecret_env = "CRM_SECRETS"\n'
    run(text, checkout(1), CRM_SECRETS=SECRETS[0])
    assert [row[1:4] for row in states(ledger)] == [("pending", "answered 410", 0)]
    assert "410: this endpoint is gone" in one(ledger, "SELECT paused_reason FROM destinations WHERE name = 'crm'")[0]


def test_a_refund_of_a_template_goes_behind_its_sale(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    fields = {"id": "re_1", "object": "refund", "amount": 500, "currency": "usd", "payment_intent": "pi_1"}
    refund = {"object": {**fields, "status": "succeeded", "created": int(time.time())}}
    event = {"id": "evt_r", "object": "event", "livemode": False, "type": "refund.created", "data": refund}
    run(
        'refunds = true\nsale.path = "/sale"\n[destinations.crm.refund]\npath = "/refund"\n'
        'body = {id = "refund.id", of = "sale.invoice_id", back = "refund.amount", left = "whole(refund.left)", key = "key"}\n',
        at_now(checkout(1)),
        json.dumps({**event, "created": int(time.time())}).encode(),
    )
    assert [request["path"] for request in destination.requests] == ["/base/sale", "/base/refund"]
    sale, refunded = destination.payloads
    assert refunded == {
        "id": "re_1",
        "of": "pi_1",
        "back": 5,
        "left": round(sale["sale"]["amount"] * 100) - 500,
        "key": "refund:stripe:re_1",
    }
    assert [row[:2] for row in states(ledger)] == [("sale", "delivered"), ("refund", "delivered")]


def test_what_is_older_than_the_destination_takes_is_discarded_and_not_sent(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    eight_days = 8 * 86_400
    run('max_age = "7 days"\nsale.path = "/in"\n', at_now(checkout(1), eight_days), at_now(checkout(2)))
    assert [request["path"] for request in destination.requests] == ["/base/in"]
    assert states(ledger) == [
        ("sale", "discarded", "older than 7 days", 0, None, None),
        ("sale", "delivered", None, 1, None, None),
    ]
    assert one(ledger, "SELECT COUNT(*) FROM attempts") == (1,)


def test_what_lacks_what_its_destination_needs_is_unattributed_until_it_is_known(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    text = 'needs = ["click.gclid"]\nsale = {path = "/in", body = {click = "click.gclid", id = "sale.invoice_id"}}\n'
    organic = [at_now(checkout(number, metadata={}, customer=f"cus_{number}")) for number in range(1, 40)]
    run(text, *organic)
    assert destination.requests == []
    lacks = "not sent: this destination needs click.gclid, which is not known"
    assert states(ledger) == [("sale", "unattributed", lacks, 0, None, None)] * 39
    learned = at_now(checkout(3, "evt_later", metadata={"gclid": "Cj0late"}, customer="cus_3"))
    run(text, learned.replace(b"cs_3", b"cs_3x").replace(b"pi_3", b"pi_3x"))
    assert sorted(json.loads(request["body"])["id"] for request in destination.requests) == ["pi_3", "pi_3x"]
    assert {json.loads(request["body"])["click"] for request in destination.requests} == {"Cj0late"}
    assert [row[1] for row in states(ledger)].count("unattributed") == 38


def test_what_was_held_back_goes_once_the_template_is_corrected_and_it_is_replayed(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    anonymous: dict[str, Any] = {"metadata": {}, "customer": "cus_1", "customer_details": {"email": None, "name": None}}
    run("sale = {path = \"join('', ['/', url(name)])\", needs = \"name\"}\n", at_now(checkout(1, **anonymous)))
    run('sale.path = "email"\n', at_now(checkout(2, **{**anonymous, "customer": "cus_2"})))
    assert [row[1] for row in states(ledger)] == ["unattributed", "dead"]
    assert states(ledger)[1][2] == "not sent: its path could not be computed; correct the template and replay"
    assert destination.requests == []
    for position in ("ASC", "DESC"):
        (identity,) = one(ledger, f"SELECT id FROM deliveries ORDER BY id {position} LIMIT 1")
        ledger.transact(partial(replay, delivery_id=identity, actor="tests"))
    run('sale.path = "/corrected"\n')
    assert [row[1] for row in states(ledger)] == ["delivered", "delivered"]
    assert [request["path"] for request in destination.requests] == ["/base/corrected"] * 2


def test_a_template_that_lost_a_kind_closes_what_it_has_of_that_kind(
    run: Callable[..., None], destination: FakeDestination, ledger: Ledger
) -> None:
    destination.answer = lambda request: (503, {}, b"")
    run('sale.path = "/in"\n', at_now(checkout(1)))
    change(ledger, "UPDATE deliveries SET due_at = 0")
    run('lead.path = "/in"\n')
    assert [row[1] for row in states(ledger)] == ["dead"]
    assert "has no request for a sale" in states(ledger)[0][2]
