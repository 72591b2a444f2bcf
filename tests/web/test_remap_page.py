"""Only an operator reprocesses parked events from the page."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.engine import Ledger
from tests.support.makers import checkout, count, one
from tests.web.conftest import Browser

VIEWER = "viewers may look"
NOBODY: dict[str, Any] = {"metadata": {}, "customer_details": {}}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(DASHBOARD_VIEWER_PASSWORD=VIEWER)


def test_an_operator_reprocesses_parked_events_and_that_is_recorded(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    assert "Reprocess parked events" not in browser.get("/events?outcome=parked").text
    assert post(checkout(1, **NOBODY))["outcome"] == "parked"
    assert "Reprocess parked events" in browser.get("/events?outcome=parked").text
    assert "Reprocess parked events" not in browser.get("/events").text
    assert browser.submit("/events/remap").headers["Location"] == "/events?outcome=parked"
    assert "Reprocessed: 1 parked." in browser.get("/events?outcome=parked").text
    assert one(ledger, "SELECT actor, action, detail FROM audit") == ("Grace", "remap", "Reprocessed: 1 parked.")


def test_what_can_be_mapped_now_is_counted_and_delivered_once(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, make_app: Callable[..., Flask]
) -> None:
    from tests.support.makers import change

    post(checkout(1, **NOBODY))
    named = checkout(1)
    change(ledger, "UPDATE events SET body = ?", named)  # as after a change of mapping: the same event says who it is
    for _ in range(2):
        browser.submit("/events/remap")
    assert one(ledger, "SELECT outcome FROM events") == ("sale",)
    assert count(ledger, "deliveries") == 1


def test_nothing_parked_is_said_so(browser: Browser) -> None:
    browser.submit("/events/remap")
    assert "No parked events." in browser.get("/events?outcome=parked").text


def test_a_viewer_and_a_stranger_map_nothing(
    app: Flask, web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1, **NOBODY))
    viewer = Browser(app.test_client(), VIEWER)
    assert "Reprocess parked events" not in viewer.get("/events?outcome=parked").text
    assert viewer.submit("/events/remap").status_code == 403
    assert web.post("/events/remap").status_code == 401
    assert count(ledger, "audit") == 0
