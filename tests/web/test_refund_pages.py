"""Refunds where people look: lists and their filter, pages of Sale, refund and event, the journey, CSV, API, command line."""

import csv
import html
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from flask import Flask

from app.cli import main
from app.ledger.engine import Ledger
from tests.support.makers import begin, change, checkout, one, settle, signed
from tests.web.conftest import API, Browser

CREATED = 1_780_000_000


@pytest.fixture
def browser(make_app: Callable[..., Flask], tmp_path: Path) -> Browser:
    config = tmp_path / "bridge.toml"
    crm = '[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\n'
    config.write_text(f"[destinations.main]\nrefunds = true\n{crm}")
    app = make_app(
        BRIDGE_CONFIG=str(config),
        DESTINATION_URL="https://api.dub.co",
        DESTINATION_TOKEN="a-token-of-dub",
        DESTINATION_FORMAT="dub",
        CRM_TOKEN="a-token-of-the-crm",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )
    return Browser(app.test_client(), "password of the tests")


def refund(identity: str, amount: int, at: int = 5) -> bytes:
    fields = {"id": identity, "object": "refund", "amount": amount, "currency": "usd", "status": "succeeded"}
    event = {"id": f"evt_{identity}", "object": "event", "created": CREATED + at, "livemode": False}
    return json.dumps(
        {**event, "type": "refund.created", "data": {"object": fields | {"payment_intent": "pi_1"}}}
    ).encode()


def sold_and_refunded(browser: Browser, ledger: Ledger) -> tuple[int, int]:
    """Ids of the deliveries of a Sale of 19.99 and of the refund of 5.00, both to main."""
    browser.client.post("/webhooks/stripe", **signed(checkout(1)))
    settle(ledger, "delivered", claimed=begin(ledger, "main"), destination="main")
    browser.client.post("/webhooks/stripe", **signed(refund("re_1", 500)))
    sale = one(ledger, "SELECT id FROM deliveries WHERE kind = 'sale' AND destination = 'main'")[0]
    return sale, one(ledger, "SELECT id FROM deliveries WHERE kind = 'refund'")[0]


def page(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


def test_the_pages_show_the_refund_and_what_is_left(browser: Browser, ledger: Ledger) -> None:
    sale, back = sold_and_refunded(browser, ledger)
    of_sale = page(browser, f"/deliveries/{sale}")
    assert "14.99 USD</b> of the Sale is left" in of_sale
    assert f'href="/deliveries/{back}"' in of_sale
    of_refund = page(browser, f"/deliveries/{back}")
    for text in (
        "A refund from stripe to main",
        "5.00 USD",
        f'of the Sale in <a href="/deliveries/{sale}"',
        "14.99 USD",
    ):
        assert text in of_refund, text
    person = one(ledger, "SELECT person_id FROM deliveries WHERE id = ?", sale)[0]
    journey = page(browser, f"/persons/{person}").split('<table class="list journey">')[1].split("</table>")[0]
    for text in ("19.99 USD", "14.99 USD left after refunds", "5.00 USD", f'href="/deliveries/{back}"'):
        assert text in journey, text
    event = one(ledger, "SELECT id FROM events WHERE event_type = 'refund.created'")[0]
    assert f'href="/deliveries/{back}"' in page(browser, f"/events/{event}")
    assert "A refund counts against its Sale, sale:stripe:pi_1." in page(browser, f"/events/{event}")


def test_lists_filter_by_kind_and_say_it(
    browser: Browser, ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, back = sold_and_refunded(browser, ledger)
    listed = page(browser, "/deliveries?kind=refund")
    assert (listed.count('<td class="c-id">'), f">{back}</a>" in listed) == (1, True)
    assert f">{back}</a>" in page(browser, "/deliveries?q=re_1")
    found = browser.client.get("/api/v1/deliveries?kind=refund", headers=API).get_json()["deliveries"]
    assert [(one["id"], one["amount"], one["refund"]) for one in found] == [
        (back, 5, {"id": "re_1", "left": 14.99, "restored": False})
    ]
    rows = list(csv.DictReader(io.StringIO(browser.get("/deliveries.csv?kind=refund").text)))
    assert [(row["kind"], row["amount"], json.loads(row["refund"])["id"]) for row in rows] == [("refund", "5", "re_1")]
    monkeypatch.setenv("DATABASE_URL", ledger_url)
    try:
        result = CliRunner().invoke(main, ["deliveries", "--kind", "refund"])
    finally:
        structlog.reset_defaults()
    assert ("refund:stripe:re_1" in result.stdout, "sale:stripe:pi_1" in result.stdout) == (True, False), result.output
    head = result.stdout.splitlines()[0].split()
    assert result.stdout.splitlines()[1].split()[head.index("kind")] == "refund"


def test_a_refund_is_sent_later_to_who_did_not_take_refunds(
    browser: Browser, ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sold_and_refunded(browser, ledger)
    config = tmp_path / "later.toml"
    crm = '[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\nformat = "dub"\nrefunds = true\n'
    config.write_text(crm)
    for name, value in (("DATABASE_URL", ledger_url), ("BRIDGE_CONFIG", str(config))):
        monkeypatch.setenv(name, value)

    def sent() -> Any:
        try:
            result = CliRunner().invoke(main, ["replay", "--to", "crm", "--kind", "refund", "--since", "1h"])
        finally:
            structlog.reset_defaults()
        made = one(ledger, "SELECT COUNT(*) FROM deliveries WHERE kind = 'refund' AND destination = 'crm'")[0]
        return made, result.stdout

    change(ledger, "UPDATE deliveries SET status = 'discarded', due_at = NULL WHERE destination = 'crm'")
    made, text = sent()
    assert (made, "crm does not get its Sale: skipped" in text) == (0, True)
    change(ledger, "UPDATE deliveries SET status = 'delivered', due_at = NULL WHERE destination = 'crm'")
    assert sent()[0] == 1
    assert sent()[0] == 1


def test_the_curl_of_a_refund_is_its_look_up(browser: Browser, ledger: Ledger) -> None:
    _, back = sold_and_refunded(browser, ledger)
    text = page(browser, f"/deliveries/{back}")
    assert "curl -X GET 'https://api.dub.co/commissions?invoiceId=pi_1'" in text
    assert "--data-raw" not in text


def test_an_export_in_small_batches_has_all_that_the_pages_show(
    browser: Browser, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale, refunded = sold_and_refunded(browser, ledger)
    browser.client.post("/webhooks/stripe", **signed(checkout(2, customer_details={"email": "p1@example.com"})))
    (person,) = one(ledger, "SELECT person_id FROM deliveries WHERE id = ?", sale)
    (merged,) = one(ledger, "SELECT MAX(id) FROM events")
    change(ledger, "INSERT INTO persons (id, created_at, merged_into) VALUES (?, 1, ?)", merged + 100, person)

    def asked(path: str) -> Any:
        return browser.client.get(f"/api/v1/{path}", headers=API).json

    whole = asked(f"persons/{person}/export")
    monkeypatch.setattr("app.ledger.reading.export.BATCH", 1)
    monkeypatch.setattr("app.ledger.reading.export.BODIES", 1)
    small = asked(f"persons/{person}/export")
    assert [line["action"] for line in small["audit"]] == ["export", "export"]
    assert {**small, "audit": []} == {**whole, "audit": []}
    assert small["merged_persons"] == [merged + 100]
    assert [mark["reference"] for mark in small["refunds_and_disputes"]] == ["re_1"]
    assert {delivery["id"] for delivery in small["deliveries"]} > {sale, refunded}
    for kind, path in (("deliveries", "deliveries"), ("events", "events")):
        for entry in small[kind]:
            shown = asked(f"{path}/{entry['id']}")
            same = [name for name in shown if name in entry and name not in ("deliveries", "facts")]
            assert len(same) > 10
            assert {name: entry[name] for name in same} == {name: shown[name] for name in same}
    (event,) = [event for event in small["events"] if event["event_id"] == "evt_1"]
    assert {sale, refunded} <= set(event["deliveries"])
