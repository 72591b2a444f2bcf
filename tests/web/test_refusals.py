"""Refused requests are counted in the ledger: by source, reason and hour, of all web processes together."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.alerting.refusals import HOUR_MS, add_refusals, refusals
from app.ledger.engine import Ledger
from app.web.public.refusal_counter import RefusalCounter
from tests.conftest import wait_for
from tests.support.makers import away, change, checkout, count, stripe_headers


def stored(ledger: Ledger, since: int = 0) -> dict[str, dict[str, int]]:
    with ledger.read() as tx:
        return refusals(tx, ["stripe", "typeform"], since)


def test_each_refusal_is_counted_by_its_reason(app: Flask, web: FlaskClient, ledger: Ledger) -> None:
    body, now = checkout(1), datetime.now(UTC)
    for headers in (
        stripe_headers(body, secret="whsec_another_secret"),
        stripe_headers(body, secret="whsec_another_secret"),
        stripe_headers(body, at=now - timedelta(hours=1)),
        stripe_headers(body, at=now + timedelta(hours=1)),
        {},
    ):
        assert web.post("/webhooks/stripe", data=body, headers=headers).status_code == 401
    assert web.post("/webhooks/stripe", data=b"[", headers=stripe_headers(b"[")).status_code == 400
    assert web.post("/webhooks/nobody", data=body).status_code == 404
    assert web.post("/webhooks/stripe", data=body, headers=stripe_headers(body)).status_code == 200
    app.extensions["refusals"].flush()
    assert stored(ledger) == {
        "stripe": {"wrong": 2, "too old": 1, "in the future": 1, "missing": 1, "unreadable": 1},
        "typeform": {},
    }
    assert count(ledger, "refusals") == 5  # and nothing for a source that is not configured


def test_counts_of_several_processes_add_up(ledger: Ledger) -> None:
    one, other = RefusalCounter(ledger), RefusalCounter(ledger)
    for counter in (one, other, one):
        counter.count("stripe", "wrong")
        counter.flush()
    one.flush()
    assert stored(ledger)["stripe"] == {"wrong": 3}
    for counter in (one, other):
        counter.stop()


def test_nothing_is_lost_while_the_ledger_is_away_and_the_thread_brings_it_by_itself(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.public.refusal_counter.FLUSH_SECONDS", 0.05)
    counter = RefusalCounter(ledger)
    with away(ledger, ledger_url):
        for _ in range(3):
            counter.count("stripe", "wrong")
        wait_for(lambda: counter._thread is not None)
    counter.count("stripe", "wrong")
    wait_for(lambda: stored(ledger)["stripe"] == {"wrong": 4})
    counter.stop()


def test_stopping_brings_the_rest(ledger: Ledger) -> None:
    counter = RefusalCounter(ledger)
    counter.count("stripe", "missing")
    counter.stop()
    assert stored(ledger)["stripe"] == {"missing": 1}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_only_those_since_a_time_are_summed(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for hour in range(3):
            add_refusals(tx, {("stripe", "wrong"): 1}, hour * HOUR_MS + 5)
    assert stored(ledger, HOUR_MS + 30)["stripe"] == {"wrong": 2}
    change(ledger, "DELETE FROM refusals WHERE hour = 0")
    assert stored(ledger)["stripe"] == {"wrong": 2}
