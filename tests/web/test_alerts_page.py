"""The page of alerts: what was reported, to whom, whether that worked, and a test of each channel; the same for API and command."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from app.ledger.engine import Ledger
from tests.conftest import FakeDestination
from tests.support.makers import change, one
from tests.web.conftest import API, Browser

INCIDENT = (
    "INSERT INTO incidents (id, topic, kind, subject, part_of, began_at, seen_at, reported_at, over_at, detail)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
NOTIFICATION = (
    "INSERT INTO notifications (incident_id, what, channel, created_at, tries, next_try_at, sent_at, problem)"
    " VALUES (?, ?, ?, 5, ?, ?, ?, ?)"
)
DEAD = {"count": 3, "codes": {"422": 3}, "last_at": 1, "stake": "59.97 USD"}
SILENT = {"usual_seconds": 3600}
HOSTILE = "<script>alert(1)</script>\u202egnp"


@pytest.fixture
def incidents(ledger: Ledger) -> None:
    """An open incident with one part, of which the email waits; and a past one of another kind."""
    at = 1_790_000_000_000
    change(
        ledger, INCIDENT, 7, "silent:typeform", "silent", "typeform", None, at, at, at, at + 60_000, json.dumps(SILENT)
    )
    change(ledger, INCIDENT, 8, "down:main", "down", HOSTILE, None, at, at, at, None, json.dumps({"waiting": 2}))
    change(ledger, INCIDENT, 9, "dead:main", "dead", HOSTILE, 8, at, at, at, None, json.dumps(DEAD))
    for what in ("alert", "over"):
        change(ledger, NOTIFICATION, 7, what, "webhook", 0, None, at + 1000, None)
    change(ledger, NOTIFICATION, 8, "alert", "webhook", 0, None, at + 1000, None)
    change(ledger, NOTIFICATION, 8, "alert", "email", 4, at + 9000, None, "the mail server answered 450")


def test_it_lists_open_and_past_ones_with_who_was_notified(
    incidents: None, browser: Browser, bridge: Callable[..., Result], ledger_url: str
) -> None:
    page = browser.get("/alerts").text
    for text in (
        "Alerts are off.", "ALERT_SMTP_URL", "has accepted nothing since", "Also: 3 deliveries to", "Alert to webhook: sent",
        "Alert to email: not sent: the mail server answered 450; next try", "All-clear to webhook: sent", "last seen 60 s ago",
    ):  # fmt: skip
        assert text in page, text
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    for query, ids in (("", [8, 7]), ("?state=open", [8]), ("?state=past", [7]), ("?kind=silent&subject=typeform", [7]),
                       ("?since=1h", []), ("?limit=1", [8]), ("?before=8", [7])):  # fmt: skip
        found = browser.client.get(f"/api/v1/alerts{query}", headers=API).get_json()
        assert [incident["id"] for incident in found["incidents"]] == ids, query
    assert "No incident matches" in browser.get("/alerts?since=1h").text
    assert browser.get("/alerts?state=maybe").status_code == 422
    found = browser.client.get("/api/v1/alerts", headers=API).get_json()
    assert (found["channels"], found["next_before"]) == ([], None)
    (first, second) = found["incidents"]
    assert [part["stake"] for part in first["parts"]] == ["59.97 USD"]
    assert (second["seconds"], [made["state"] for made in second["notifications"]]) == (60, ["sent", "sent"])
    printed = bridge("alerts", "--json", DATABASE_URL=ledger_url).stdout.splitlines()
    in_words = [json.loads(line) | {"seconds": 0} for line in printed]
    assert in_words == [incident | {"seconds": 0} for incident in found["incidents"]]
    shown = bridge("alerts", "--state", "open", DATABASE_URL=ledger_url).stdout
    assert "alert to email: the mail server answered 450" in shown
    assert "Alerts are off." in shown


def test_a_test_alert_says_for_each_channel_whether_it_was_taken(
    make_app: Callable[..., Flask], destination: FakeDestination, ledger: Ledger
) -> None:
    destination.answer = lambda request: (202 if request["path"] == "/page" else 404, {}, b"")
    app = make_app(
        ALERT_WEBHOOK_URL=f"{destination.url}/hook/secret",
        ALERT_PAGERDUTY_KEY="0123456789abcdef0123456789abcdef",
        ALERT_PAGERDUTY_URL=f"{destination.url}/page",
        DASHBOARD_VIEWER_PASSWORD="viewers may look",
    )
    browser = Browser(app.test_client(), "password of the tests")
    assert browser.client.post("/alerts/test").status_code == 400, "no CSRF token"
    assert browser.submit("/alerts/test").status_code == 302
    page = browser.get("/alerts").text
    assert "webhook: The alert webhook answered 404. Check ALERT_WEBHOOK_URL." in page
    assert "pagerduty: PagerDuty accepted a test incident and resolved it." in page
    assert "secret" not in page.replace("secret key", "")
    assert [request["json"].get("event_action") for request in destination.requests] == [None, "trigger", "resolve"]
    assert one(ledger, "SELECT detail FROM audit WHERE action = 'test alert'") == (
        "webhook failed, pagerduty accepted",
    )
    answer = browser.client.post("/api/v1/alerts/test", headers=API)
    found = answer.get_json()
    assert (answer.status_code, found["done"], found["message"]) == (200, False, "Not accepted by webhook.")
    assert [(one["channel"], one["done"]) for one in found["results"]] == [("webhook", False), ("pagerduty", True)]
    viewer = Browser(app.test_client(), "viewers may look")
    assert "Send a test alert" not in viewer.get("/alerts").text
    assert viewer.submit("/alerts/test").status_code == 403


def test_with_alerts_off_nothing_is_tested(browser: Browser) -> None:
    browser.submit("/alerts/test")
    assert "Alerts are off, so there is nothing to test." in browser.get("/alerts").text
    answer = browser.client.post("/api/v1/alerts/test", headers=API)
    assert answer.status_code == 409
    assert "ALERT_PAGERDUTY_KEY" in answer.get_json()["message"]


def test_a_read_only_login_sees_no_whole_address_of_a_channel(make_app: Callable[..., Flask], incidents: None) -> None:
    app = make_app(
        ALERT_SMTP_URL="smtp://mail.example",
        ALERT_EMAIL_TO="grace.hopper@example.com",
        DASHBOARD_VIEWER_PASSWORD="viewers may look",
    )
    assert "grace.hopper@example.com" in Browser(app.test_client(), "password of the tests").get("/alerts").text
    page: Any = Browser(app.test_client(), "viewers may look").get("/alerts").text
    assert "grace.hopper@example.com" not in page
    assert "failing" in page


def test_every_open_incident_is_in_the_verdict(incidents: None, browser: Browser, ledger: Ledger) -> None:
    at = 1_790_000_000_000
    row = (
        "INSERT INTO alerts (topic, kind, subject, incident, began_at, bad_at, told_at, detail, incident_id)"
        " VALUES (?, 'down', 'sandbox', ?, ?, ?, ?, ?, 8)"
    )
    change(ledger, row, "down:sandbox", "down:sandbox", at, at, at, json.dumps({"waiting": 2}))
    problems = browser.client.get("/api/v1/status", headers=API).get_json()["problems"]
    (found,) = [problem for problem in problems if problem["kind"] == "down"]
    assert (found["level"], found["path"]) == ("warn", "/alerts")
    assert found["text"] == "sandbox accepts deliveries again; the alert about it is still open."
    change(ledger, "INSERT INTO destinations (name, failures) VALUES ('sandbox', 99)")
    problems = browser.client.get("/api/v1/status", headers=API).get_json()["problems"]
    assert [problem["text"] for problem in problems if problem["kind"] == "down"] == ["sandbox is not responding."]
