"""How many Sales carry a click ID: counted as they are recorded, shown by source and week, filtered and marked on lists."""

import html
from collections.abc import Callable
from typing import Any

from click.testing import Result
from flask.testing import FlaskClient

from app.ledger.credit.coverage import Lately, Share, click_share, weeks
from app.ledger.engine import Ledger
from tests.support.makers import change, checkout, one, settle
from tests.web.conftest import API, Browser

DAY_MS = 86_400_000


def share(ledger: Ledger) -> Lately:
    with ledger.read() as tx:
        return click_share(tx)


def test_the_share_is_that_of_sales_with_a_click_of_theirs_or_of_their_person(
    browser: Browser, web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    assert "of Sales with a click ID" not in browser.get("/").text
    assert "No Sales in the last 8 weeks." in browser.get("/coverage").text
    for number in (1, 2, 3):
        post(checkout(number))
    post(checkout(4, metadata={}))
    post(checkout(5, metadata={}, customer_details={"email": "p1@example.com"}))  # of whom a click is known
    assert share(ledger).now == Share(5, 4)
    change(
        ledger, "UPDATE conversions SET created_at = created_at - ? WHERE dedupe_key = 'sale:stripe:pi_1'", 8 * DAY_MS
    )
    assert share(ledger) == Lately(Share(4, 3), Share(1, 1))
    page = " ".join(html.unescape(browser.get("/").text).split())
    assert '<b class="num">75%</b><span>of Sales with a click ID, −25 in 7 days</span>' in page
    assert "75%" in browser.get("/coverage").text
    found = web.get("/api/v1/coverage", headers=API).get_json()
    assert (found["last_7_days"], found["change"]) == ({"sales": 4, "with_click": 3, "percent": 75}, -25)
    with ledger.read() as tx:
        assert sum(week.total.sales for week in weeks(tx)) == 5


def test_a_click_that_arrives_while_the_sale_waits_counts_and_a_later_one_does_not(
    post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1, metadata={"user_id": "user_1"}))
    post(checkout(2, metadata={"user_id": "user_2"}))
    first = settle(ledger, "delivered")[0]
    assert share(ledger).now == Share(2, 0)
    change(ledger, "UPDATE deliveries SET status = 'pending', due_at = created_at WHERE id <> ?", first)
    (sent,) = one(ledger, "SELECT person_id FROM deliveries WHERE id = ?", first)
    for number in (1, 2):
        post(checkout(f"{number}_again", metadata={"user_id": f"user_{number}", "clickId": f"clk_{number}"}))
    assert share(ledger).now == Share(4, 3)
    assert one(ledger, "SELECT clicked FROM conversions WHERE person_id = ? ORDER BY id", sent) == (0,)


def test_lists_mark_and_filter_what_has_no_click(
    browser: Browser, web: FlaskClient, post: Callable[[bytes], Any], bridge: Callable[..., Result], ledger_url: str
) -> None:
    post(checkout(1))
    post(checkout(2, metadata={}))
    rows = web.get("/api/v1/deliveries?click=none", headers=API).get_json()["deliveries"]
    assert [(row["invoice_id"], row["has_click"]) for row in rows] == [("pi_2", False)]
    events = web.get("/api/v1/events?click=none", headers=API).get_json()["events"]
    assert [event["event_id"] for event in events] == ["evt_2"]
    assert web.get("/api/v1/events?click=some", headers=API).status_code == 422
    listed = browser.get("/deliveries").text
    assert listed.count("no-click") == 1
    only = browser.get("/deliveries?click=none").text
    assert ("pi_2" in only, "pi_1" in only) == (True, False)
    assert "evt" not in browser.get("/events?click=none&source=typeform").text.split("<main")[1].split("<form")[0]
    reason = "No click ID: the session has none, and no earlier Lead of this person carried one."
    assert reason in browser.get(f"/deliveries/{rows[0]['id']}").text
    assert reason in browser.get(f"/persons/{rows[0]['person_id']}").text
    printed = bridge("deliveries", "--click", "none", "--json", DATABASE_URL=ledger_url).output
    assert ("pi_2" in printed, "pi_1" in printed) == (True, False)
    assert "50% of 2" in bridge("coverage", DATABASE_URL=ledger_url).output
