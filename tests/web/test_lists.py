"""Lists: their addresses, chips, presets and mistakes, what a row tells, and where its IDs lead."""

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from app.ledger.engine import Ledger
from app.sources.catalog import all_sources
from app.web.lists.links import link_at
from tests.support.makers import change, checkout, one, settle
from tests.web.conftest import API, Browser

NO_PERSON: dict[str, Any] = {"customer_details": {"email": None, "name": None}, "metadata": {}}
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


def rows_of(text: str) -> int:
    return text.count('<td class="c-id">')


def chips_of(text: str) -> dict[str, str]:
    found = re.findall(r'<a class="chip" href="([^"]*)" aria-label="Remove ([^"]*)"', text)
    return {html.unescape(name): html.unescape(href) for href, name in found}


@sqlite_alone
def test_an_address_has_no_empty_parameters(browser: Browser) -> None:
    for path in ("/deliveries", "/events", "/failed"):
        answer = browser.get(f"{path}?q=&source=stripe&from=&to=&before=7")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"{path}?source=stripe&before=7")
        assert browser.get(f"{path}?q=&from=&to=").headers["Location"] == path
        assert browser.get(f"{path}?source=stripe&before=7").status_code == 200


@sqlite_alone
def test_a_date_and_time_is_of_the_readers_zone(browser: Browser) -> None:
    browser.client.set_cookie("zone", "Europe/Berlin")
    answer = browser.get("/deliveries?q=ada&since=24h&from=2026-07-01T14:00&to=2026-07-01T15:30&source=")
    assert answer.headers["Location"] == (
        "/deliveries?q=ada&since=2026-07-01T12%3A00%3A00.000Z&until=2026-07-01T13%3A30%3A00.000Z"
    )
    text = browser.get(answer.headers["Location"]).text
    assert 'name="from" value="2026-07-01T14:00"' in text
    assert 'name="to" value="2026-07-01T15:30"' in text
    assert "Since 1 Jul 2026, 14:00" in chips_of(text)
    browser.client.set_cookie("times", "utc")
    assert 'name="from" value="2026-07-01T12:00"' in browser.get(answer.headers["Location"]).text


def test_chips_name_each_condition_and_lead_to_the_list_without_it(
    browser: Browser, post: Callable[[bytes], Any]
) -> None:
    post(checkout(1))
    path = "/deliveries?q=p1@&status=pending&source=stripe&kind=sale&since=24h"
    text = browser.get(path).text
    chips = chips_of(text)
    assert set(chips) == {"Find: p1@", "Status: pending", "Source: stripe", "What: sale", "Last 24 hours"}
    assert chips["Source: stripe"] == "/deliveries?since=24h&q=p1%40&status=pending&kind=sale"
    assert 'type="hidden" name="since" value="24h"' in text
    for href in chips.values():
        assert rows_of(browser.get(href).text) == 1
    for name, count in (("Last hour", 1), ("Today", 1), ("7 days", 1)):
        (href,) = re.findall(rf'<a href="([^"]*)" [^>]*>{name}</a>', text)
        assert rows_of(browser.get(html.unescape(href)).text) == count, name
    assert 'aria-current="true">24 hours</a>' in text
    assert rows_of(browser.get("/deliveries?until=today").text) == 0


@pytest.mark.parametrize("path", ["/deliveries", "/events", "/failed"])
@sqlite_alone
def test_a_mistake_stands_beside_its_field_and_lists_nothing(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, path: str
) -> None:
    post(checkout(1))
    settle(ledger, "permanent", status=422, error="no")
    answer = browser.get(f"{path}?from=soon&source=stripe&q=p1@")
    assert answer.status_code == 422
    assert rows_of(answer.text) == 0
    assert re.search(r'name="from" value="soon"[^>]* aria-invalid="true" aria-describedby="error-since"', answer.text)
    assert '<span class="error" id="error-since">must be a date and time</span>' in answer.text
    assert "<option selected>stripe</option>" in answer.text
    assert 'value="p1@"' in answer.text
    assert 'data-live="deliveries"' not in answer.text
    wrong = browser.get(f"{path}?source=%3Cb%3E").text
    assert 'id="error-source">must be a name' in wrong
    assert "<option selected>&lt;b&gt;</option>" in wrong
    assert "must be one of" in browser.get("/deliveries?status=lost").text
    assert "must be dead or retrying" in browser.get("/failed?status=delivered").text


def test_the_filter_offers_sources_that_are_configured_no_more(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    post(checkout(2))
    change(ledger, "UPDATE events SET source = 'removed' WHERE id = (SELECT MIN(id) FROM events)")
    for path in ("/events", "/deliveries", "/failed"):
        offered = re.findall(
            "<option >([^<]*)</option>", browser.get(path).text.split('name="source"')[1].split("</select>")[0]
        )
        assert offered == ["removed", "stripe", "typeform"], path
    assert rows_of(browser.get("/events?source=removed").text) == 1


def test_events_tell_whom_how_much_and_what_was_sent(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    (delivery,) = settle(ledger, "delivered")
    post(checkout(2, metadata={}, amount_total=None))
    post(checkout(3, **NO_PERSON))
    text = browser.get("/events").text
    (person,) = one(ledger, "SELECT person_id FROM deliveries")
    sale = next(row for row in text.split("<tr>") if ">p1@example.com<" in row)
    assert "19.99 USD" in sale
    assert f'href="/persons/{person}" title="p1@example.com">p1@example.com</a>' in sale
    assert f'<a class="nowrap" href="/deliveries/{delivery}"' in sale
    assert '<span class="badge delivered">delivered</span>' in sale
    ignored = next(row for row in text.split("<tr>") if "p2@example.com" in row)
    assert '<span class="badge ignored">' in ignored
    events = browser.client.get("/api/v1/events", headers=API).get_json()["events"]
    assert [e["email"] for e in events] == [None, "p2@example.com", "p1@example.com"]
    assert (events[1]["amount"], events[2]["amount"]) == (None, 19.99)
    assert events[2]["sent"] == [{"id": delivery, "destination": "sandbox", "status": "delivered", "held": False}]
    assert f'href="/persons/{person}"' in browser.get("/deliveries").text.split("<tbody>")[1]


def test_a_sale_says_what_went_back_and_unattributed_is_no_error(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    refund = {
        "id": "re_1", "object": "refund", "amount": 500, "currency": "usd", "payment_intent": "pi_1", "status": "succeeded",
        "created": 1_780_000_500,
    }  # fmt: skip
    event = {
        "id": "evt_r", "object": "event", "created": 1_780_000_500, "livemode": False, "type": "refund.created",
        "data": {"object": refund},
    }  # fmt: skip
    post(json.dumps(event).encode())
    assert "−5.00 USD refunded" in browser.get("/deliveries").text
    change(ledger, "UPDATE deliveries SET status = 'unattributed', last_error = 'no such click'")
    text = browser.get("/deliveries?status=unattributed").text
    assert "This is not an error" in text.split("<table")[0]
    assert 'class="badge unattributed" title="Unattributed: ' in text
    assert '<span class="faint">no such click</span>' in text


def test_ids_can_be_copied_and_lead_to_stripe(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1, customer="cus_Nq1", id="cs_test_a1"))
    delivery, person, event = one(ledger, "SELECT id, person_id, event_id FROM deliveries")
    text = browser.get(f"/deliveries/{delivery}").text
    stripe = "https://dashboard.stripe.com/test"
    for href in (
        f"{stripe}/payments/pi_1", f"{stripe}/checkout/sessions/cs_test_a1", f"{stripe}/customers/cus_Nq1",
        f"{stripe}/events/evt_1",
    ):  # fmt: skip
        assert f'<a class="out-link" href="{href}" target="_blank" rel="noreferrer noopener">' in text, href
    assert '<span class="mono wrap" data-copy="the invoice ID">pi_1</span>' in text
    assert f"{stripe}/customers/cus_Nq1" in browser.get(f"/persons/{person}").text
    assert f"{stripe}/events/evt_1" in browser.get(f"/events/{event}").text


def test_only_a_plain_id_of_a_known_kind_gets_a_link() -> None:
    sources = all_sources({})
    live, test = '{"livemode": true}', '{"livemode": false}'
    for identity, body, url in (
        ("in_1", live, "https://dashboard.stripe.com/invoices/in_1"),
        ("in_1", test, "https://dashboard.stripe.com/test/invoices/in_1"),
        ("in_1", None, "https://dashboard.stripe.com/invoices/in_1"),
        ("cs_live_1", live, "https://dashboard.stripe.com/checkout/sessions/cs_live_1"),
        ("cs_test_1", None, "https://dashboard.stripe.com/test/checkout/sessions/cs_test_1"),
    ):
        place = link_at(sources, "stripe", identity, body)
        assert place is not None
        assert place.url == url
    for source, identity in (
        ("stripe", 'in_1"><script>'), ("stripe", "in_1/../../x"), ("stripe", "order 12"), ("stripe", ""), ("tally", "in_1"),
        ("nowhere", "in_1"), ("stripe", "in_" + "x" * 300),
    ):  # fmt: skip
        assert link_at(sources, source, identity, "[" * 100_000) is None, identity


def test_colors_and_times_are_kept_by_the_browser(make_app: Callable[..., Flask]) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    viewer = Browser(app.test_client(), "viewers may look")
    assert "data-theme" not in viewer.get("/").text
    viewer.client.set_cookie("zone", "Asia/Tokyo")
    answer = viewer.client.post("/preferences", data={"theme": "dark", "next": "/events?outcome=sale"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/events?outcome=sale")
    assert '<html lang="en" data-theme="dark">' in viewer.get("/").text
    assert "<b data-zone>Asia/Tokyo</b>" in viewer.get("/").text
    viewer.client.post("/preferences", data={"times": "utc", "next": "//evil.example"})
    assert "<b data-zone>UTC</b>" in viewer.get("/").text
    assert viewer.client.post("/preferences", data={"next": "//evil.example"}).headers["Location"] == "/"
    viewer.client.post("/preferences", data={"theme": "<b>", "times": "mars"})
    assert 'data-theme="dark"' in viewer.get("/").text
    viewer.client.post("/preferences", data={"theme": ""})
    assert "data-theme" not in viewer.get("/").text
    other = viewer.client.post("/preferences", data={"theme": "dark"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert other.status_code == 400


def test_today_begins_at_the_readers_midnight(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    kiritimati = datetime.now(UTC).timestamp() + 14 * 3600
    since_midnight = int(kiritimati % 86_400)
    change(ledger, "UPDATE events SET received_at = received_at - ?", (since_midnight + 60) * 1000)
    assert rows_of(browser.get("/events?since=48h").text) == 1
    browser.client.set_cookie("zone", "Pacific/Kiritimati")
    assert rows_of(browser.get("/events?since=today").text) == 0
    assert rows_of(browser.get("/events?since=yesterday&until=today").text) == 1
    assert browser.get("/events.csv?since=yesterday&until=today").text.count("\n") == 2
