"""The answer to "my purchase is not credited": one page, the API and the command line say the same."""

import html
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.engine import Ledger
from app.sources.catalog import SOURCES
from tests.conftest import TYPEFORM_SECRET
from tests.support.makers import begin, checkout, one, settle, signed
from tests.support.shop import configured, order, post_order
from tests.web.conftest import API, Browser

VIEWER = "viewers may look"


@pytest.fixture
def app(make_app: Callable[..., Flask], tmp_path: Path) -> Flask:
    return make_app(DASHBOARD_VIEWER_PASSWORD=VIEWER, **configured(tmp_path))


def asked(web: FlaskClient, text: str) -> Any:
    return web.get("/api/v1/why", query_string={"q": text}, headers=API).get_json()


def shown(browser: Browser, text: str) -> str:
    return html.unescape(browser.client.get("/why", query_string={"q": text}).text)


def test_a_parked_order_without_a_person_is_explained_by_address_number_click_and_id(
    browser: Browser, web: FlaskClient
) -> None:
    post_order(web, order("A-1") | {"clickId": "clk_9"})
    for text in ("a-1@example.com", "A-1", "clk_9", "Ida Löfgren", "order.paid:A-1", "1"):
        found = asked(web, text)
        assert [f["level"] for f in found["findings"]] == ["bad"], text
        assert found["findings"][0]["text"].endswith("is parked and not sent: it has no currency."), text
        assert "Fill in what is missing" in found["findings"][0]["next_step"]
        assert "is parked and not sent: it has no currency." in shown(browser, text)


def test_every_state_of_a_delivery_has_its_reason_and_next_step(
    browser: Browser, web: FlaskClient, ledger: Ledger
) -> None:
    for number in (1, 2, 3):
        web.post("/webhooks/stripe", **signed(checkout(number)))
    first, second, _ = begin(ledger)
    settle(
        ledger,
        "permanent",
        status=422,
        error="answered 422",
        answer='{"error":"this currency is off"}',
        claimed=[first],
    )
    settle(ledger, "delivered", claimed=[second])
    dead = asked(web, "pi_1")
    assert [f["level"] for f in dead["findings"]] == ["bad"]
    assert "Sale pi_1 (19.99 USD) to sandbox failed: answered 422." in dead["findings"][0]["text"]
    assert dead["deliveries"][0]["answer"] == '{"error":"this currency is off"}'
    assert "this currency is off" in shown(browser, "p1@example.com")
    fine = asked(web, "cs_2")
    assert [f["level"] for f in fine["findings"]] == ["ok"]
    assert "with click ID clk_2" in fine["findings"][0]["text"]
    assert (fine["deliveries"][0]["click"], fine["deliveries"][0]["no_click"]) == ("clk_2", None)
    assert [f["level"] for f in asked(web, "user_3")["findings"]] == ["warn"]
    nothing = asked(web, "nobody@example.com")
    assert nothing["findings"][0]["text"] == "Nothing was received about “nobody@example.com”."
    assert "backfill" in shown(browser, "nobody@example.com")
    (person,) = one(ledger, "SELECT person_id FROM deliveries WHERE id = ?", first.id)
    assert f"/why?person={person}" in browser.get(f"/persons/{person}").text
    assert "answered 422" in browser.get(f"/why?person={person}").text
    assert "/why?q=pi_1" in browser.get("/search?q=pi_1").text


def test_what_was_delivered_without_a_click_says_why(web: FlaskClient, ledger: Ledger) -> None:
    lead = {"event_type": "form_response", "form_response": {"token": "tok_1", "answers": [
        {"type": "email", "email": "p2@example.com", "field": {"id": "1", "type": "email"}}]}}  # fmt: skip
    body = json.dumps(lead).encode()
    headers = SOURCES["typeform"].sign(body, TYPEFORM_SECRET, datetime.now(UTC))
    assert web.post("/webhooks/typeform", data=body, headers=headers).status_code == 200
    web.post("/webhooks/stripe", **signed(checkout(1, metadata={})))
    web.post("/webhooks/stripe", **signed(checkout(2, metadata={})))
    web.post("/webhooks/stripe", **signed(checkout(3, metadata={"clickId": "{{click_id}}"})))
    web.post("/webhooks/stripe", **signed(checkout(4, metadata={"my_click_ref": "abc123"})))
    while settle(ledger, "delivered"):
        pass
    for text, said in (
        ("pi_1", "the session has none, and no earlier Lead of this person carried one."),
        ("pi_2", "the session has none, and the earlier Lead of this person carried none."),
        ("pi_3", 'has data.object.metadata.clickId: "{{click_id}}", which is a placeholder.'),
        ("pi_4", 'has data.object.metadata.my_click_ref: "abc123", which is not read as one.'),
    ):
        finding, *more = asked(web, text)["findings"]
        assert not more, (text, more)
        assert finding["level"] == "bad", text
        assert "cannot be credited to a link. No click ID: " in finding["text"], text
        assert said in finding["text"], (text, finding["text"])
        assert finding["next_step"]


def test_an_order_number_and_a_connected_account_s_ids_are_found_though_they_are_no_keys(
    web: FlaskClient, ledger: Ledger
) -> None:
    event = json.loads(checkout(5, customer="cus_5")) | {"account": "acct_1"}
    web.post("/webhooks/stripe", **signed(json.dumps(event).encode()))
    for text in ("pi_5", "cs_5", "cus_5"):
        assert [d["invoice_id"] for d in asked(web, text)["deliveries"]] == ["pi_5"], text
        found = web.get("/api/v1/events", query_string={"q": text}, headers=API).get_json()["events"]
        assert [one["event_id"] for one in found] == ["evt_5"], text


def test_a_viewer_is_shown_no_address_and_hostile_text_is_text(app: Flask, web: FlaskClient) -> None:
    post_order(web, order("A-1"))
    web.post(
        "/webhooks/stripe",
        **signed(checkout(1, customer_details={"email": "p1@example.com", "name": "<b>\u202eAda</b>"})),
    )
    viewer = Browser(app.test_client(), VIEWER)
    for text in ("A-1", "pi_1", "<script>alert(1)</script>", "%", "x" * 600, "\u202eא"):
        page = viewer.client.get("/why", query_string={"q": text})
        assert page.status_code == 200, text
        assert "@example.com" not in page.text.replace("•••@example.com", ""), text
        assert "<script>alert" not in page.text
        assert "<b>\u202e" not in page.text
    assert "is parked" not in viewer.client.get("/why", query_string={"q": "a-1@exam"}).text


def test_the_command_line_explains_it_too(
    bridge: Callable[..., Result], ledger_url: str, web: FlaskClient, tmp_path: Path
) -> None:
    post_order(web, order("A-1"))
    variables = {"DATABASE_URL": ledger_url, **configured(tmp_path)}
    found = bridge("why", "A-1", **variables)
    assert found.exit_code == 0
    assert "is parked and not sent: it has no currency." in found.output
    as_json = json.loads(bridge("why", "a-1@example.com", "--json", **variables).output)
    assert as_json["findings"][0]["level"] == "bad"
    assert bridge("why", "nobody@example.com", **variables).exit_code == 1


def test_what_was_refused_for_its_signature_is_found_in_the_quarantine(
    app: Flask, browser: Browser, web: FlaskClient
) -> None:
    body = json.dumps(order("A-9")).encode()
    assert web.post("/webhooks/shop", data=body, headers={"X-Shop-Signature": "0" * 64}).status_code == 401
    app.extensions["refusals"].flush()
    for text in ("a-9@example.com", "order.paid"):
        (finding,) = asked(web, text)["findings"]
        mentions = "1 request that was refused for its signature mentions it."
        assert finding["text"] == f"No event mentions “{text}”, but {mentions}"
        assert finding["path"].startswith("/inbound/quarantine/")
        assert finding["path"] in browser.client.get("/search", query_string={"q": text}).text
    assert "mentions it" not in asked(web, "a-8@example.com")["findings"][0]["text"]
