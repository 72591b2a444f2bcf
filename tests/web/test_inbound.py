"""Refused requests are shown by source and reason: on the page, in the API and on the command line."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.alerting.refusals import HOUR_MS, add_refusals
from app.ledger.engine import Ledger
from app.ledger.inbound.refused import MOST_BARS, RefusalFilter, groups
from tests.support.makers import checkout, signed, stripe_headers
from tests.web.conftest import API, Browser


def test_the_page_names_source_reason_and_remedy(app: Flask, web: FlaskClient, browser: Browser) -> None:
    assert "Nothing was refused in the last 7 days" in browser.get("/inbound").text
    body = checkout(1)
    for _ in range(3):
        assert (
            web.post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret="whsec_old")).status_code == 401
        )
    assert web.post("/webhooks/typeform", data=b"{}").status_code == 401
    app.extensions["refusals"].flush()
    page = browser.get("/inbound").text
    assert "wrong signature" in page
    assert "Check STRIPE_WEBHOOK_SECRET" in page
    assert "3 requests over time" in page
    assert "no signature" in page
    only = browser.get("/inbound?source=typeform&reason=missing").text
    assert "no signature" in only
    assert "wrong signature" not in only
    assert "No refused request matches" in browser.get("/inbound?source=typeform&reason=unreadable").text
    wrong = browser.get("/inbound?reason=ill&source=typeform")
    assert wrong.status_code == 422
    assert "Reason must be one of wrong, missing" in wrong.text
    found = web.get("/api/v1/refusals?source=stripe&since=24h", headers=API).json
    assert found is not None
    (one,) = found["refusals"]
    assert (one["reason"], one["name"], one["count"], sum(one["bars"]["counts"])) == ("wrong", "wrong signature", 3, 3)


@pytest.mark.parametrize("age_hours", [0, 30, 170, 24 * 170])
def test_bars_cover_the_time_asked_for_and_add_up(ledger: Ledger, age_hours: int) -> None:
    with ledger.write() as tx:
        now = tx.now()
        for age in (0, age_hours):
            add_refusals(tx, {("stripe", "wrong"): 2}, now - age * HOUR_MS)
        add_refusals(tx, {("stripe", "missing"): 1}, now)
    with ledger.read() as tx:
        found = groups(tx, RefusalFilter("stripe", "wrong", now - age_hours * HOUR_MS))
    assert [(one.reason, one.count, sum(one.bars.counts)) for one in found] == [("wrong", 4, 4)]
    assert len(found[0].bars.counts) <= MOST_BARS + 1
    assert found[0].bars.counts[-1] in (2, 4)
    assert found[0].bars.counts[0] >= 2


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_command_lists_them(bridge: Callable[..., Result], ledger: Ledger, ledger_url: str) -> None:
    assert "Nothing was refused" in bridge("refusals", DATABASE_URL=ledger_url).output
    with ledger.write() as tx:
        add_refusals(tx, {("typeform", "wrong"): 2, ("gone", "wrong"): 1}, tx.now())
    shown = bridge("refusals", DATABASE_URL=ledger_url).output
    assert "Check TYPEFORM_WEBHOOK_SECRET" in shown
    assert "The source gone is no longer known" in shown
    lines = bridge("refusals", "--source", "typeform", "--json", DATABASE_URL=ledger_url).output.splitlines()
    assert [(json.loads(line)["source"], json.loads(line)["count"]) for line in lines] == [("typeform", 2)]
    assert bridge("refusals", "--source", "typefrom", DATABASE_URL=ledger_url).exit_code == 2


def test_sources_show_the_last_refusal_and_how_long_they_are_silent(
    app: Flask, web: FlaskClient, browser: Browser, ledger: Ledger
) -> None:
    for number in range(25):
        assert web.post("/webhooks/stripe", **signed(checkout(number))).status_code == 200
    step = 20 * 60_000
    with ledger.write() as tx:
        now = tx.now()
        oldest = int(tx.run("SELECT MIN(id) FROM events").scalar_one())
        for number, identity in enumerate(tx.run("SELECT id FROM events ORDER BY id").scalars().all()):
            tx.run("UPDATE events SET received_at = ? WHERE id = ?", now - (33 - number) * step, identity)
        tx.run("UPDATE events SET received_at = received_at - ? WHERE id = ?", 10 * 86_400_000, oldest)
    body = checkout(99)
    assert web.post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret="whsec_old")).status_code == 401
    app.extensions["refusals"].flush()
    page = browser.get("/sources").text
    assert "3 h ago, usually every 20 min" in page
    assert "/inbound?source=stripe&amp;reason=wrong" in page
    assert "/events?source=stripe&amp;outcome=sale&amp;since=7d" in page
    assert "1 in quarantine" in page
    found = web.get("/api/v1/sources", headers=API).json
    assert found is not None
    stripe = next(one for one in found["sources"] if one["name"] == "stripe")
    assert (stripe["last_refusal"]["reason"], stripe["quarantined"]) == ("wrong", 1)
    assert stripe["silence"]["usual_seconds"] == 1200
    assert not stripe["silence"]["is_unusual"]  # it once paused for days


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_doctor_and_the_verdict_name_what_is_in_quarantine(
    app: Flask, web: FlaskClient, browser: Browser, bridge: Callable[..., Result], ledger_url: str
) -> None:
    body = checkout(1)
    web.post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret="whsec_old"))
    app.extensions["refusals"].flush()
    said = bridge("doctor", DATABASE_URL=ledger_url).output
    assert "Stripe: 1 request was refused" in said
    assert "Stripe: 1 refused request is in quarantine." in said
    assert "`bridge quarantine verify --source stripe`" in said
    assert "/inbound/quarantine?source=stripe" in browser.get("/").text
