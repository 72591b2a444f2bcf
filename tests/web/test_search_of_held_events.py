"""Events that made no conversion are found by everything that could be read from them, on every page with a search."""

import hashlib
import hmac
import html
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from app.web.factory import create_app
from tests.support.makers import signed
from tests.support.shop import SECRET, SHOP
from tests.web.conftest import API, Browser

SOLD = {
    "type": "order.paid",
    "order": {
        "number": "A-2026-17",
        "total": "149.50",
        "customer": {"email": "Ida@Example.com", "name": "Ida Löfgren"},
    },
    "clickId": "clk_held",
    "visit": {"session_ref": "sess_900"},
}
CANCELLED = {
    "type": "order.cancelled",
    "order": {"number": "B-2026-18", "customer": {"email": "gone@example.com", "name": "Gone Customer"}},
}
PARKED = (
    "ida@example.com",
    "IDA@example",
    "A-2026-17",
    "A-2026",
    "clk_held",
    "Ida Löfgren",
    "ida lö",
    "löfgren",
    "sess_900",
)
IGNORED = ("gone@example.com", "B-2026-18", "gone customer", "Customer")
PAGES = ("/search", "/events", "/deliveries", "/persons")


@pytest.fixture
def held(
    make_settings: Callable[..., Settings], ledger_url: str, tmp_path: Path
) -> Iterator[tuple[Browser, Browser, FlaskClient]]:
    """A web with a parked order (it has no currency) and a cancelled one; an operator and a viewer."""
    from app.ledger.engine import Ledger

    config = tmp_path / "bridge.toml"
    config.write_text(SHOP, encoding="utf-8")
    viewers = {"DASHBOARD_VIEWER_PASSWORD": "viewers may look"}
    settings = make_settings(BRIDGE_CONFIG=str(config), SHOP_WEBHOOK_SECRET=SECRET, **viewers)
    ledger = Ledger(ledger_url)
    upgrade(ledger)
    app = create_app(settings, ledger)
    client = app.test_client()
    for order, outcome in ((SOLD, "parked"), (CANCELLED, "ignored")):
        body = json.dumps(order).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        answer = client.post("/webhooks/shop", data=body, headers={"X-Shop-Signature": signature})
        assert answer.get_json()["outcome"] == outcome
    yield (
        Browser(app.test_client(), "password of the tests"),
        Browser(app.test_client(), "viewers may look"),
        client,
    )
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()
    ledger.close()


def events_on(page: str) -> set[int]:
    return {int(one) for one in re.findall(r'href="/events/([0-9]+)"', page)}


def test_parked_and_ignored_events_are_found_by_all_that_they_say_on_every_page(
    held: tuple[Browser, Browser, FlaskClient],
) -> None:
    operator, _, client = held
    parked, ignored = sorted(events_on(operator.get("/events").text))
    for texts, expected in ((PARKED, parked), (IGNORED, ignored)):
        for text in texts:
            for page in PAGES:
                answer = operator.client.get(page, query_string={"q": text})
                assert events_on(answer.text) == {expected}, (page, text)
            found = client.get("/api/v1/events", query_string={"q": text}, headers=API).get_json()["events"]
            assert [one["id"] for one in found] == [expected], text
    for text in ("A-2026-19", "nobody@example.com", "ida f", "x" * 500):
        assert "No results" in operator.client.get("/search", query_string={"q": text}).text


def test_a_viewer_finds_held_events_by_whole_addresses_and_learns_none_letter_by_letter(
    held: tuple[Browser, Browser, FlaskClient],
) -> None:
    operator, viewer, _ = held
    parked, ignored = sorted(events_on(operator.get("/events").text))
    assert events_on(viewer.get("/search?q=ida%40example.com").text) == {parked}
    assert events_on(viewer.get("/search?q=gone%20c").text) == {ignored}
    for page in PAGES:
        for text in ("gone@", "gone@example.co", "ida@example"):
            assert not events_on(viewer.client.get(page, query_string={"q": text}).text), (page, text)
        shown = html.unescape(viewer.client.get(page, query_string={"q": "A-2026-17"}).text)
        assert "ida@example.com" not in shown.lower()


ODD_IDS = ["ada@example.com", "ada%40example.com", "ada%2540example.com"]


@pytest.mark.parametrize("identity", ODD_IDS)
def test_a_viewer_learns_no_address_from_what_is_used_as_an_id(
    make_app: Callable[..., Flask], ledger: Ledger, identity: str
) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    viewer = Browser(app.test_client(), "viewers may look")
    event = {"id": identity, "object": "event", "type": "radar.x", "livemode": False, "created": 1}
    thing = {"id": identity, "object": "x", "metadata": {"user_id": identity, "clickId": identity}}
    viewer.client.post("/webhooks/stripe", **signed(json.dumps({**event, "data": {"object": thing}}).encode()))
    for length in range(3, len(identity) - 1):
        page = viewer.client.get("/search", query_string={"q": identity[:length]}).text
        assert not events_on(page), identity[:length]


def stripe_event(kind: str, number: object, **thing: Any) -> bytes:
    event = {"id": f"evt_{number}", "object": "event", "type": kind, "livemode": False, "created": int(time.time())}
    return json.dumps({**event, "data": {"object": thing}}).encode()


STRIPE = [
    ("invoice.payment_failed", {"id": "in_9", "object": "invoice", "customer": "cus_9", "customer_email": "s@example.com"}),
    ("customer.subscription.deleted", {"id": "sub_9", "object": "subscription", "customer": "cus_9"}),
    ("charge.refunded", {"id": "ch_9", "object": "charge", "payment_intent": "pi_9", "amount_refunded": 100,
                         "currency": "usd", "billing_details": {"email": "s@example.com", "name": "Sam Nine"}}),
    ("refund.created", {"id": "re_9", "object": "refund", "charge": "ch_9", "amount": 100, "currency": "usd"}),
    ("charge.dispute.created", {"id": "dp_9", "object": "dispute", "charge": "ch_9", "amount": 100, "currency": "usd",
                                "evidence": {"customer_email_address": "s@example.com", "customer_name": "Sam Nine"}}),
    ("payment_method.attached", {"id": "pm_9", "object": "payment_method", "customer": "cus_9",
                                 "billing_details": {"email": "s@example.com", "name": "Sam Nine", "phone": "+4915112345678"}}),
    ("payment_intent.payment_failed", {"id": "pi_9", "object": "payment_intent", "receipt_email": "s@example.com",
                                       "metadata": {"clickId": "clk_9"}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "thing"), STRIPE, ids=[kind for kind, _ in STRIPE])
def test_any_event_of_stripe_is_found_by_its_ids_and_whoever_it_names(
    browser: Browser, kind: str, thing: dict[str, Any]
) -> None:
    assert browser.client.post("/webhooks/stripe", **signed(stripe_event(kind, 9, **thing))).status_code == 200
    expected = events_on(browser.get("/events").text)
    said = [str(value) for name, value in thing.items() if name in ("id", "customer", "charge", "payment_intent")]
    said += re.findall(r"[^\"]+@[^\"]+", json.dumps(thing)) + (
        ["Sam Nine", "nine"] if "Sam" in json.dumps(thing) else []
    )
    for text in said:
        assert events_on(browser.client.get("/events", query_string={"q": text}).text) == expected, text


def test_a_counted_person_is_found_by_name_and_surname(browser: Browser, post: Callable[[bytes], Any]) -> None:
    from tests.support.makers import checkout

    post(checkout(1))
    post(checkout(2, customer_details={"email": "p2@example.com", "name": "Grace Brewster Hopper"}))
    for text, name in (
        ("grace", "Grace"),
        ("HOPPER", "Grace"),
        ("brewster hop", "Grace"),
        ("lovelace", "Ada Lovelace"),
    ):
        page = browser.client.get("/persons", query_string={"q": text}).text
        assert name in page, text
        assert "/deliveries/" in browser.client.get("/search", query_string={"q": text}).text
