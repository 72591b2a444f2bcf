"""Only an operator reprocesses parked events from the page."""

import pytest

from tests.support.makers import checkout, count, one
from tests.web.conftest import Browser

VIEWER = "viewers may look"
NOBODY = {"metadata": {}, "customer_details": {}}


@pytest.fixture
def app(make_app):
    return make_app(DASHBOARD_VIEWER_PASSWORD=VIEWER)


def test_an_operator_reprocesses_parked_events_and_that_is_recorded(browser, post, ledger):
    assert "Reprocess parked events" not in browser.get("/events?outcome=parked").text
    assert post(checkout(1, **NOBODY))["outcome"] == "parked"
    assert "Reprocess parked events" in browser.get("/events?outcome=parked").text
    assert "Reprocess parked events" not in browser.get("/events").text
    assert browser.submit("/events/remap").headers["Location"] == "/events?outcome=parked"
    assert "Reprocessed: 1 parked." in browser.get("/events?outcome=parked").text
    assert one(ledger, "SELECT actor, action, detail FROM audit") == ("Grace", "remap", "Reprocessed: 1 parked.")


def test_what_can_be_mapped_now_is_counted_and_delivered_once(browser, post, ledger, make_app):
    from tests.support.makers import change

    post(checkout(1, **NOBODY))
    named = checkout(1)
    change(ledger, "UPDATE events SET body = ?", named)  # as after a change of mapping: the same event says who it is
    for _ in range(2):
        browser.submit("/events/remap")
    assert one(ledger, "SELECT outcome FROM events") == ("sale",)
    assert count(ledger, "deliveries") == 1


def test_nothing_parked_is_said_so(browser):
    browser.submit("/events/remap")
    assert "No event is parked." in browser.get("/events?outcome=parked").text


def test_a_viewer_and_a_stranger_map_nothing(app, web, post, ledger):
    post(checkout(1, **NOBODY))
    viewer = Browser(app.test_client(), VIEWER)
    assert "Reprocess parked events" not in viewer.get("/events?outcome=parked").text
    assert viewer.submit("/events/remap").status_code == 403
    assert web.post("/events/remap").status_code == 401
    assert count(ledger, "audit") == 0
