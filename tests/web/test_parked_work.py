"""Parked events as work: what each lacks, filling it in, reprocessing what was chosen after a preview, dismissing and its undo."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.actions.forget import forget_name
from app.ledger.engine import Ledger
from app.ledger.parked.reading import SCANNED
from tests.support.makers import change, checkout, count, one, signed
from tests.support.shop import SHOP, configured, order, post_order
from tests.web.conftest import API, Browser

VIEWER = "viewers may look"
NOBODY: dict[str, Any] = {"metadata": {}, "customer_details": {}}
FIXED = SHOP.replace('"order.currency"', '["order.currency", "order.currency_code"]')


@pytest.fixture
def app(make_app: Callable[..., Flask], tmp_path: Path) -> Flask:
    return make_app(DASHBOARD_VIEWER_PASSWORD=VIEWER, **configured(tmp_path))


def parked_ids(ledger: Ledger) -> list[int]:
    with ledger.read() as tx:
        return list(tx.run("SELECT id FROM events WHERE outcome = 'parked' ORDER BY id").scalars())


def outcomes(ledger: Ledger) -> list[str]:
    with ledger.read() as tx:
        return list(tx.run("SELECT outcome FROM events ORDER BY id").scalars())


def flashed(browser: Browser, path: str = "/audit") -> str:
    return html.unescape(browser.get(path).text)


def post_json(web: FlaskClient, path: str, **body: Any) -> Any:
    return web.post(f"/api/v1/{path}", json=body, headers=API)


def test_the_list_says_what_was_looked_for_and_what_the_body_has(browser: Browser, web: FlaskClient) -> None:
    for number in ("A-1", "A-2"):
        assert post_order(web, order(number))["outcome"] == "parked"
    assert web.post("/webhooks/stripe", **signed(checkout(1, **NOBODY))).get_json()["outcome"] == "parked"
    page = html.unescape(browser.get("/parked").text)
    for said in ("it has no currency", "<code>order.currency</code>", '<code>order.currency_code: "EUR"</code>',
                 "149.50", "a-1@example.com", "Parked events <span class=\"faint num\">3</span>"):  # fmt: skip
        assert said in page, said
    only = html.unescape(browser.get("/parked?source=stripe").text)
    assert "a-1@example.com" not in only
    found = web.get("/api/v1/parked", query_string={"source": "shop"}, headers=API).get_json()
    assert [(one["source"], one["count"]) for one in found["groups"]] == [("shop", 2), ("stripe", 1)]
    event = found["events"][0]
    assert (event["amount"], event["currency"], event["email"]) == ("149.50", None, "a-2@example.com")
    (lack,) = event["lacks"]
    assert lack["looked_for"] == ["order.currency"]
    assert lack["similar"] == [{"path": "order.currency_code", "value": "EUR", "usable": True}]
    assert lack["line"] == 'currency = ["order.currency", "order.currency_code"]'
    nobody = web.get("/api/v1/parked?source=stripe", headers=API).get_json()["events"][0]
    assert {one["field"] for one in nobody["lacks"]} == {"email", "customer_id", "phone"}
    assert (nobody["amount"], nobody["currency"]) == (19.99, "USD")


def test_a_currency_filled_in_makes_the_sale_with_the_amount_of_the_body(
    browser: Browser, web: FlaskClient, ledger: Ledger
) -> None:
    post_order(web, order("A-1"))
    (event,) = parked_ids(ledger)
    refused = browser.submit(f"/parked/{event}/fill", currency="euro")
    assert refused.status_code == 422
    assert "must be a currency code of three letters" in refused.text
    assert count(ledger, "fill_ins") == 0
    assert browser.submit(f"/parked/{event}/fill", currency="eur", email="").status_code == 302
    page = flashed(browser, f"/events/{event}")
    assert "Currency: stored; the event is now sale: an order was paid; filled in by hand: currency" in page
    payload = json.loads(one(ledger, "SELECT payload FROM deliveries")[0])
    assert (payload["amount"], payload["currency"], payload["invoiceId"]) == (149.5, "EUR", "A-1")
    assert one(ledger, "SELECT actor, action, subject, detail FROM audit") == (
        "Grace", "fill in", f"event {event}", "currency = EUR",
    )  # fmt: skip
    assert post_order(web, order("A-1"))["outcome"] == "duplicate"
    assert "EUR" not in bytes(one(ledger, "SELECT body FROM events")[0]).decode().replace('"currency_code": "EUR"', "")
    assert browser.submit(f"/parked/{event}/fill", currency="USD").status_code == 302
    assert f"Event {event} is not parked" in flashed(browser)
    assert count(ledger, "deliveries") == 1


def test_one_value_of_several_is_kept_until_the_last_is_there(
    browser: Browser, web: FlaskClient, ledger: Ledger
) -> None:
    post_order(web, order("A-1", total="a lot", customer={}))
    (event,) = parked_ids(ledger)
    web.post("/webhooks/stripe", **signed(checkout(1, **NOBODY, amount_total=4900, currency="jpy")))
    page = browser.get("/parked").text
    assert "4,900 JPY" in page
    assert "a lot" in page
    first = post_json(web, f"events/{event}/fill", currency="JPY").get_json()
    assert first["outcome"] == "parked"
    assert post_json(web, f"events/{event}/fill", email="Ida@Example.com").get_json()["outcome"] == "parked"
    too_fine = post_json(web, f"events/{event}/fill", amount="12.50")
    assert (too_fine.status_code, "more decimals than JPY" in too_fine.text) == (409, True)
    assert post_json(web, f"events/stripe:{event}/fill", amount="-5").status_code == 404
    assert post_json(web, "events/shop:order.paid:A-1/fill", amount="-5").status_code == 409
    assert post_json(web, f"events/{event}/fill").status_code == 422
    alone = web.get(f"/api/v1/events/{event}/lacks", headers=API).get_json()
    assert alone["filled_in"] == {"currency": "JPY", "email": "Ida@Example.com"}
    assert [lack["field"] for lack in alone["lacks"]] == ["amount"]
    assert post_json(web, f"events/{event}/fill", amount="1250").get_json()["outcome"] == "sale"
    payload = json.loads(one(ledger, "SELECT payload FROM deliveries")[0])
    assert (payload["amount"], payload["currency"], payload["customerExternalId"]) == (1250, "JPY", "ida@example.com")
    assert post_json(web, f"events/{event}/fill", amount="1250").status_code == 409
    assert web.get(f"/api/v1/events/{event}/lacks", headers=API).status_code == 404


def test_a_person_filled_in_is_the_person_that_is_known_and_another_event_of_it_stays_one_sale(
    browser: Browser, web: FlaskClient, ledger: Ledger
) -> None:
    web.post("/webhooks/stripe", **signed(checkout(1)))
    web.post("/webhooks/stripe", **signed(checkout(2, **NOBODY)))
    (event,) = parked_ids(ledger)
    browser.submit(f"/parked/{event}/fill", email="P1@example.com")
    assert one(ledger, "SELECT COUNT(DISTINCT person_id) FROM deliveries") == (1,)
    payload = json.loads(one(ledger, "SELECT payload FROM deliveries ORDER BY id DESC")[0])
    assert (payload["customerExternalId"], payload["clickId"]) == ("user_1", "clk_1")
    assert (
        web.post("/webhooks/stripe", **signed(checkout(2, event_id="evt_later"))).get_json()["outcome"] == "duplicate"
    )
    assert count(ledger, "deliveries") == 2


def test_a_preview_writes_nothing_and_says_who_stays_and_why(
    make_app: Callable[..., Flask], web: FlaskClient, ledger: Ledger, tmp_path: Path
) -> None:
    post_order(web, order("A-1"))
    post_order(web, order("A-2", currency_code=None))
    web.post("/webhooks/stripe", **signed(checkout(1, **NOBODY)))
    browser = Browser(make_app(**configured(tmp_path, FIXED)).test_client(), "password of the tests")
    rows = "SELECT outcome, reason, conversion_id FROM events ORDER BY id"
    with ledger.read() as tx:
        before = tx.run(rows).all()
    page = browser.submit("/parked/choose", verb="reprocess", all="1", source="shop")
    text = " ".join(html.unescape(page.text).split())
    assert '<b class="num">1</b> becomes sale' in text
    assert '<b class="num">1</b> stays parked' in text
    assert "× it has no currency" in text
    dry = post_json(browser.client, "parked/reprocess", source="shop", dry_run=True).get_json()
    assert (dry["outcomes"], dry["dry_run"]) == ({"sale": 1, "parked": 1}, True)
    with ledger.read() as tx:
        assert tx.run(rows).all() == before
    for table in ("deliveries", "audit", "dismissals"):
        assert count(ledger, table) == 0, table
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text.split("Cancel")[0]))
    form.pop("csrf")
    post_order(web, order("A-3"))  # after the preview, so it stays as it is
    browser.submit("/parked/reprocess", **form)
    assert outcomes(ledger) == ["sale", "parked", "parked", "parked"]
    assert "Reprocessed: 1 parked, 1 sale." in flashed(browser)


def test_only_what_was_chosen_is_reprocessed(web: FlaskClient, browser: Browser, ledger: Ledger) -> None:
    for number in (1, 2):
        web.post("/webhooks/stripe", **signed(checkout(number, **NOBODY)))
        change(ledger, "UPDATE events SET body = ? WHERE event_id = ?", checkout(number), f"evt_{number}")
    first, _ = parked_ids(ledger)
    wrong: list[dict[str, Any]] = [
        {},
        {"all": False},
        {"reason": "x"},
        {"ids": []},
        {"ids": ["1"]},
        {"everything": True},
    ]
    for refused in wrong:
        assert post_json(web, "parked/reprocess", **refused).status_code == 422, refused
    assert browser.submit("/parked/choose", verb="reprocess").status_code == 302
    assert browser.submit("/parked/reprocess").status_code == 400
    assert outcomes(ledger) == ["parked", "parked"]
    browser.submit("/parked/reprocess", id=str(first))
    assert outcomes(ledger) == ["sale", "parked"]
    assert web.post("/api/v1/events/remap", headers=API).get_json() == {"message": "Reprocessed: 1 sale."}
    assert count(ledger, "deliveries") == 2


def test_a_dismissed_event_is_closed_and_comes_back_as_it_was(
    browser: Browser, web: FlaskClient, ledger: Ledger
) -> None:
    web.post("/webhooks/stripe", **signed(checkout(1, **NOBODY)))
    (event,) = parked_ids(ledger)
    was = one(ledger, "SELECT outcome, reason, conversion_id, person_id FROM events")
    asked = browser.submit("/parked/choose", verb="dismiss", id=str(event))
    assert "Dismiss 1 parked event?" in asked.text
    assert browser.submit("/parked/dismiss", id=str(event), why="  ").status_code == 422
    browser.submit("/parked/dismiss", id=str(event), why="a test order")
    assert one(ledger, "SELECT outcome, reason FROM events") == ("ignored", "dismissed: a test order")
    assert web.get("/api/v1/status", headers=API).get_json()["parked_events"] == 0
    assert "a test order" in browser.get("/parked").text
    assert "Dismissed by Grace" in browser.get(f"/events/{event}").text
    named = {
        "id": "evt_n",
        "type": "payment_intent.succeeded",
        "object": "event",
        "livemode": False,
        "created": 1780000000,
    }
    thing = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount_received": 1999,
        "currency": "usd",
        "receipt_email": "a@example.com",
    }
    web.post("/webhooks/stripe", **signed(json.dumps({**named, "data": {"object": thing}}).encode()))
    assert count(ledger, "deliveries") == 0
    browser.submit("/parked/reopen", id=str(event))
    assert one(ledger, "SELECT outcome, reason, conversion_id, person_id FROM events WHERE id = ?", event) == was
    assert count(ledger, "dismissals") == 0
    assert post_json(web, "parked/dismiss", ids=[event, 999], why="twice").get_json() == {"ids": [event]}
    assert post_json(web, "parked/dismiss", ids=[event], why="twice").get_json() == {"ids": []}
    assert post_json(web, "parked/reopen", ids=[event]).get_json() == {"ids": [event]}
    with ledger.read() as tx:
        actions = list(tx.run("SELECT action FROM audit ORDER BY id").scalars())
    assert actions == ["dismiss", "reopen", "dismiss", "reopen"]


def test_a_rare_reason_is_searched_for_in_steps_that_lead_to_the_oldest_event(
    browser: Browser, web: FlaskClient, ledger: Ledger, bridge: Callable[..., Result], ledger_url: str, tmp_path: Path
) -> None:
    post_order(web, order("A-1"))
    (oldest,) = parked_ids(ledger)
    change(ledger, "UPDATE events SET reason = 'rare'")
    columns = "event_type, outcome, received_at, last_received_at, headers, body"
    with ledger.write() as tx:
        tx.run_many(
            f"INSERT INTO events (id, event_key, source, event_id, reason, received_count, {columns})"
            f" SELECT ?, ?, source, ?, 'common', 1, {columns} FROM events WHERE id = ?",
            [(oldest + n, f"shop:more-{n}", f"more-{n}", oldest) for n in range(1, SCANNED + 1)],
        )
    page = html.unescape(browser.get("/parked?source=shop&reason=rare").text)
    assert "No match among the newest parked events" in page
    (older,) = re.findall(r'href="(/parked\?[^"]*before=[^"]*)"', page)
    assert f'href="/events/{oldest}"' in browser.get(older).text
    query = {"source": "shop", "reason": "rare"}
    first = web.get("/api/v1/parked", query_string=query, headers=API).get_json()
    assert (first["events"], first["groups"][0]["count"]) == ([], SCANNED)
    rest = web.get("/api/v1/parked", query_string={**query, "before": first["next_before"]}, headers=API).get_json()
    assert ([entry["id"] for entry in rest["events"]], rest["next_before"]) == ([oldest], None)
    assert 'Parked events <span class="faint num">10,000+</span>' in browser.get("/parked").text
    listed = bridge("parked", "list", "--reason", "rare", "--json", DATABASE_URL=ledger_url, **configured(tmp_path))
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == [oldest]


def test_a_viewer_sees_no_whole_address_and_a_stranger_nothing(app: Flask, web: FlaskClient, ledger: Ledger) -> None:
    post_order(web, order("A-1"))
    (event,) = parked_ids(ledger)
    viewer = Browser(app.test_client(), VIEWER)
    for path in ("/parked", f"/events/{event}"):
        page = html.unescape(viewer.get(path).text)
        assert "currency_code" in page
        assert "a-1@example.com" not in page
        assert "<button" not in page.split("<main")[1].split("</main>")[0]
    for path in ("/parked/choose", "/parked/reprocess", "/parked/dismiss", "/parked/reopen", f"/parked/{event}/fill"):
        assert viewer.submit(path, id=str(event), why="x", currency="EUR", all="1").status_code == 403, path
        assert web.post(path).status_code == 401, path
    assert outcomes(ledger) == ["parked"]


def test_hostile_bodies_and_names_are_shown_as_text(browser: Browser, web: FlaskClient, ledger: Ledger) -> None:
    names = {
        "<script>alert(1)</script>currency": "EUR",
        "\u202ecurrency": "x" * 5000,
        "currency": {"a": [1, {"b": None}]},
    }
    post_order(web, order("A-1", **names))
    post_order(web, order("A-2", customer={"email": "x@example.com"}, filler="y" * 1_000_000))
    for event in parked_ids(ledger):
        page = browser.get(f"/events/{event}").text
        assert "<script>alert" not in page
        assert "What is missing" in page
    page = browser.get("/parked").text
    assert "<script>alert" not in page
    assert "Its body is large" in page or "its body is large" in page


def test_what_was_filled_in_is_erased_with_the_person(web: FlaskClient, ledger: Ledger) -> None:
    post_order(web, order("A-1", customer={}))
    (event,) = parked_ids(ledger)
    post_json(web, f"events/{event}/fill", email="gone@example.com")
    assert count(ledger, "fill_ins") == 1
    forget_name(ledger, "gone@example.com", actor="test")
    assert count(ledger, "fill_ins") == 0
    assert b"gone" not in bytes(one(ledger, "SELECT body FROM events")[0])


def test_the_command_line_does_the_same(
    bridge: Callable[..., Result], ledger_url: str, web: FlaskClient, ledger: Ledger, tmp_path: Path
) -> None:
    post_order(web, order("A-1"))
    post_order(web, order("A-2"))
    first, second = parked_ids(ledger)
    variables = {"DATABASE_URL": ledger_url, **configured(tmp_path)}
    listed = bridge("parked", "list", "--source", "shop", **variables)
    assert 'currency (looked for order.currency): the body has order.currency_code: "EUR"' in listed.output
    assert bridge("parked", "reprocess", **variables).exit_code == 2
    dry = bridge("parked", "reprocess", "--all", "--dry-run", **variables)
    assert dry.output == "2 would be parked.\n  2 × it has no currency\n"
    filled = bridge("parked", "fill", first, "--currency", "EUR", **variables)
    assert (filled.exit_code, outcomes(ledger)) == (0, ["sale", "parked"]), filled.output
    assert bridge("parked", "fill", first, "--currency", "EUR", **variables).exit_code == 1
    assert bridge("parked", "dismiss", "--id", second, "--why", "a test order", **variables).exit_code == 0
    assert outcomes(ledger) == ["sale", "ignored"]
    assert bridge("parked", "reopen", "--id", second, **variables).exit_code == 0
    again = bridge("replay", "--parked", "--source", "shop", **{**variables, **configured(tmp_path, FIXED)})
    assert (again.exit_code, outcomes(ledger)) == (0, ["sale", "sale"]), again.output
