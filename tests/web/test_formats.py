"""Every format, from the webhook to what people see of its deliveries: list, page, edit, CSV, API and command line."""

import csv
import html
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from flask import Flask

from app.cli import main
from app.ledger.engine import Ledger
from app.ledger.forwarding.claims import Claimed
from app.sources.catalog import SOURCES
from tests.conftest import TYPEFORM_SECRET
from tests.support.formats import FORMATS, OF_TRACK, PRESETS, format_of
from tests.support.makers import begin, change, checkout, one, settle, signed
from tests.web.conftest import API, Browser

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
TEMPLATES = ("template", *PRESETS)
FULL: dict[str, Any] = {}
BARE: dict[str, Any] = {
    "customer": "cus_bare",
    "customer_details": {"email": None, "name": None},
    "metadata": {},
}
MONEY = [
    (1999, "usd", 19.99, "USD", "19.99 USD"),
    (370000, "ugx", 3700, "UGX", "3,700.00 UGX"),
    (1500, "jpy", 1500, "JPY", "1,500 JPY"),
]
LEAD = {
    "event_id": "tf_1",
    "event_type": "form_response",
    "form_response": {
        "form_id": "form",
        "token": "tok_1",
        "submitted_at": "2026-04-10T12:34:56Z",
        "hidden": {"clickId": "clk_1", "user_id": "user_1"},
        "definition": {
            "id": "form",
            "title": "Demo",
            "fields": [{"id": "f1", "type": "email", "title": "E-mail", "ref": "r1"}],
        },
        "answers": [{"type": "email", "email": "ada@example.com", "field": {"id": "f1", "type": "email", "ref": "r1"}}],
    },
}


@pytest.fixture(params=OF_TRACK)
def site(request: pytest.FixtureRequest, make_app: Callable[..., Flask]) -> tuple[str, Browser]:
    app = make_app(DESTINATION_FORMAT=request.param)
    return request.param, Browser(app.test_client(), "password of the tests")


def command(*arguments: str) -> str:
    try:
        result = CliRunner().invoke(main, list(arguments))
    finally:
        structlog.reset_defaults()
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("money", MONEY)
@pytest.mark.parametrize("who", [FULL, BARE])
def test_a_sale_stands_everywhere_in_the_money_of_the_buyer(
    site: tuple[str, Browser],
    ledger: Ledger,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
    who: dict[str, Any],
    money: tuple[int, str, float | str, str, str],
) -> None:
    minor, currency, amount, code, shown = money
    name, browser = site
    browser.client.post("/webhooks/stripe", **signed(checkout(1, amount_total=minor, currency=currency, **who)))
    (claimed,) = begin(ledger)
    assert format_of(name).problem("sale", json.loads(claimed.payload)) is None
    settle(ledger, "permanent", claimed=[claimed], status=422, error="no")
    customer = "cus_bare" if who else "user_1"
    for path in ("/deliveries", "/failed", f"/deliveries/{claimed.id}"):
        text = browser.get(path).text
        assert shown in text, path
        assert f"{json.loads(claimed.payload)['amount']} {currency}<" not in text, path
    assert (customer if who else "p1@example.com") in browser.get("/deliveries").text
    (row,) = csv.DictReader(io.StringIO(browser.get("/deliveries.csv").text))
    assert (row["amount"], row["currency"], row["invoice_id"], row["customer_id"]) == (
        str(amount),
        code,
        "pi_1",
        customer,
    )
    assert json.loads(row["payload"]) == json.loads(claimed.payload)
    answer = browser.client.get(f"/api/v1/deliveries/{claimed.id}", headers=API).get_json()
    assert (answer["amount"], answer["currency"], answer["invoice_id"]) == (amount, code, "pi_1")
    assert answer["payload"] == json.loads(claimed.payload)
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    assert shown in command("deliveries")
    assert customer in command("deliveries")
    assert json.loads(command("deliveries", "--json"))["amount"] == amount


def test_a_lead_stands_everywhere_without_money(
    site: tuple[str, Browser], ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    name, browser = site
    body = json.dumps(LEAD).encode()
    headers = {"Content-Type": "application/json", **SOURCES["typeform"].sign(body, TYPEFORM_SECRET, datetime.now(UTC))}
    assert browser.client.post("/webhooks/typeform", data=body, headers=headers).status_code == 200
    (claimed,) = begin(ledger)
    payload = json.loads(claimed.payload)
    assert format_of(name).problem("lead", payload) is None
    assert payload.get("mode") == ("wait" if name == "dub" else None)
    for path in ("/deliveries", f"/deliveries/{claimed.id}"):
        assert browser.get(path).status_code == 200
    assert "ada@example.com" in browser.get("/deliveries").text
    (row,) = csv.DictReader(io.StringIO(browser.get("/deliveries.csv").text))
    assert (row["amount"], row["currency"], row["invoice_id"], row["customer_id"]) == ("", "", "", "user_1")
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    assert "user_1" in command("deliveries")


def test_what_was_left_out_is_said_and_does_not_cost_the_sale(
    site: tuple[str, Browser], ledger: Ledger, ledger_url: str
) -> None:
    name, browser = site
    who: dict[str, Any] = {"customer_details": {"email": "o'brien&co@exämple.com", "name": "N" * 300}}
    browser.client.post("/webhooks/stripe", **signed(checkout(1, **who)))
    (claimed,) = begin(ledger)
    assert format_of(name).problem("sale", json.loads(claimed.payload)) is None
    answer = browser.client.get(f"/api/v1/deliveries/{claimed.id}", headers=API).get_json()
    page = html.unescape(browser.get(f"/deliveries/{claimed.id}").text)
    assert any("was shortened to" in said for said in answer["omitted"])
    assert any("customerEmail was left out" in said for said in answer["omitted"]) is (name in ("track", "dub"))
    for said in answer["omitted"]:
        assert said in page
    (row,) = csv.DictReader(io.StringIO(browser.get("/deliveries.csv").text))
    assert row["omitted"] == "; ".join(answer["omitted"])


def dead(browser: Browser, ledger: Ledger) -> tuple[Claimed, dict[str, Any]]:
    browser.client.post("/webhooks/stripe", **signed(checkout(1)))
    (claimed,) = begin(ledger)
    settle(ledger, "permanent", claimed=[claimed], status=422, error="no")
    return claimed, json.loads(claimed.payload)


@sqlite_alone
def test_an_edited_payload_passes_the_check_of_its_format(site: tuple[str, Browser], ledger: Ledger) -> None:
    _, browser = site
    claimed, payload = dead(browser, ledger)
    refused_changes: list[tuple[dict[str, Any], str]] = [
        ({"amount": "abc"}, "amount"),
        ({"amount": "19.99"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": [5]}, "amount"),
        ({"amount": ...}, "amount"),
        ({"currency": "dollars"}, "currency"),
        ({"currency": 840}, "currency"),
        ({"currency": ...}, "currency"),
        ({"customerExternalId": ...}, "customerExternalId"),
        ({"customerExternalId": 7}, "customerExternalId"),
        ({"customerExternalId": " "}, "customerExternalId"),
        ({"clickId": 7}, "clickId"),
        ({"clickId": None}, "clickId"),
        ({"colour": "red"}, "colour"),
        ({"invoiceId": "pi_2"}, "invoiceId"),
        ({"invoiceId": ...}, "invoiceId"),
    ]
    for changes, named in refused_changes:
        edited = {key: value for key, value in {**payload, **changes}.items() if value is not ...}
        text = json.dumps(edited, indent=1)
        answer = browser.submit(f"/deliveries/{claimed.id}/edit", payload=text)
        assert answer.status_code == 422, changes
        page = html.unescape(answer.text)
        assert named in page[page.index('id="problem"') : page.index("<textarea")], changes
        assert text in page, "what was typed is kept"
        refused = browser.client.post(f"/api/v1/deliveries/{claimed.id}/edit", json={"payload": edited}, headers=API)
        assert (refused.status_code, named in refused.get_json()["error"]) == (422, True), changes
        assert one(ledger, "SELECT status, dedupe_key FROM deliveries") == ("dead", "sale:stripe:pi_1"), changes


@sqlite_alone
@pytest.mark.parametrize(
    ("field", "value"),
    [("eventName", "other"), ("customerEmail", "o'brien&co@example.com"), ("customerName", "n" * 256)],
)
def test_an_edit_keeps_to_the_limits_too(
    make_app: Callable[..., Flask], ledger: Ledger, field: str, value: str
) -> None:
    for name in ("track", "dub"):
        browser = Browser(make_app(DESTINATION_FORMAT=name).test_client(), "password of the tests")
        change(ledger, "DELETE FROM deliveries")
        browser.client.post("/webhooks/stripe", **signed(checkout(name)))
        (claimed,) = begin(ledger)
        settle(ledger, "permanent", claimed=[claimed], status=422, error="no")
        edited = {**json.loads(claimed.payload), field: value}
        answer = browser.submit(f"/deliveries/{claimed.id}/edit", payload=json.dumps(edited))
        assert (answer.status_code, field in answer.text) == (422, True)


@sqlite_alone
def test_a_right_edit_is_sent_and_no_longer_says_what_was_left_out(site: tuple[str, Browser], ledger: Ledger) -> None:
    _, browser = site
    browser.client.post(
        "/webhooks/stripe", **signed(checkout(1, customer_details={"email": "a@b.co", "name": "N" * 300}))
    )
    (claimed,) = begin(ledger)
    settle(ledger, "permanent", claimed=[claimed], status=422, error="no")
    payload = json.loads(claimed.payload)
    field = "name" if "name" in payload else "customerName"
    browser.submit(f"/deliveries/{claimed.id}/edit", payload=json.dumps({**payload, field: "Ada"}))
    answer = browser.client.get(f"/api/v1/deliveries/{claimed.id}", headers=API).get_json()
    assert (answer["status"], answer["payload"][field], answer["omitted"]) == ("pending", "Ada", [])


@sqlite_alone
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in OF_TRACK])
def test_a_format_with_fields_of_its_own_stands_everywhere(
    make_app: Callable[..., Flask],
    ledger: Ledger,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    browser = Browser(make_app(DESTINATION_FORMAT=name).test_client(), "password of the tests")
    wire = format_of(name)
    browser.client.post("/webhooks/stripe", **signed(checkout(1, amount_total=370000, currency="ugx")))
    browser.client.post("/webhooks/stripe", **signed(checkout(2, **BARE)))
    claimed = begin(ledger)
    assert [one.kind for one in claimed] == ["sale", "sale"]
    settle(ledger, "permanent", claimed=claimed, status=422, error="no")
    for path in ("/deliveries", "/failed", f"/deliveries/{claimed[0].id}"):
        assert "3,700.00 UGX" in browser.get(path).text, path
    rows = list(csv.DictReader(io.StringIO(browser.get("/deliveries.csv").text)))
    assert {(row["amount"], row["currency"], row["invoice_id"]) for row in rows} == {
        ("3700", "UGX", "pi_1"),
        ("19.99", "USD", "pi_2"),
    }
    answer = browser.client.get(f"/api/v1/deliveries/{claimed[0].id}", headers=API).get_json()
    assert (answer["amount"], answer["customer_id"], answer["omitted"]) == (3700, "user_1", [])
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    assert "3,700.00 UGX" in command("deliveries")
    payload = json.loads(claimed[0].payload)
    missing = json.dumps({**payload, "colour": None})
    refused = browser.client.post(
        f"/api/v1/deliveries/{claimed[0].id}/edit",
        json={"payload": {**payload, "$request": {"path": "/x"}}},
        headers=API,
    )
    assert refused.status_code == 422
    assert "cannot be changed" in refused.get_json()["error"] or name not in TEMPLATES
    for field in (field for field, value in payload.items() if value in ("pi_1", "sale:stripe:pi_1")):
        assert "cannot be changed" in str(wire.edit_problem("sale", payload, {**payload, field: "pi_2"})), field
    if name != "template":  # whose body is all facts, and may be edited to anything
        assert browser.submit(f"/deliveries/{claimed[0].id}/edit", payload=missing).status_code == 422
    held = wire.not_sent("sale", claimed[0].payload)
    assert held is None or held.result == "unattributed"
    if "lead" in wire.kinds:
        body = json.dumps(LEAD).encode()
        headers = {
            "Content-Type": "application/json",
            **SOURCES["typeform"].sign(body, TYPEFORM_SECRET, datetime.now(UTC)),
        }
        assert browser.client.post("/webhooks/typeform", data=body, headers=headers).status_code == 200
        lead = next(one for one in begin(ledger) if one.kind == "lead")
        held = wire.not_sent("lead", lead.payload)
        assert held is not None or wire.problem("lead", json.loads(lead.payload)) is None
        assert browser.get(f"/deliveries/{lead.id}").status_code == 200
        assert "ada@example.com" in browser.get("/deliveries").text
