"""Backfill: in time's order, within memory, resumed however often it was interrupted, and like the webhooks in all else."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from app.bootstrap import make_policy
from app.cli import main
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Receipt
from app.ledger.recording.record import record
from app.model import Inbound
from app.sources.stripe.source import SOURCE
from app.stripe_api.backfill import Backfill
from app.stripe_api.client import StripeApi, StripeApiError
from tests.stripe.test_stripe_api import DAY, KEY, NOW, FakeStripe, bought
from tests.support import stripe_world as world
from tests.support.makers import count, one

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    server = FakeStripe()
    yield server
    server.close()


@pytest.fixture
def fetch(make_settings: Callable[..., Settings], ledger: Ledger, stripe: FakeStripe) -> Callable[..., Backfill]:
    def make(**options: Any) -> Backfill:
        api = StripeApi(KEY, stripe.url, retries=0, sleep=lambda _seconds: None)
        policy = make_policy(make_settings(STRIPE_HOLD="20"))
        return Backfill(api, ledger, SOURCE, policy, **{"since": NOW - 3 * DAY, **options})

    return make


def listed(event_type: str, thing: dict[str, Any], age_seconds: int) -> dict[str, Any]:
    return {**json.loads(world.body(event_type, thing)), "created": NOW - age_seconds}


@sqlite_alone
def test_a_burst_in_one_second_is_taken_whole(
    fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(n, 5000) for n in range(150)]
    run = fetch(most_events=40)
    list(run.run())
    assert (run.tally.found, run.tally.new, count(ledger, "deliveries")) == (150, 150, 150)


@sqlite_alone
def test_a_quiet_month_costs_few_requests(fetch: Callable[..., Backfill], stripe: FakeStripe) -> None:
    stripe.lists["/v1/events"] = [bought(1, 20 * DAY)]
    run = fetch(since=NOW - 30 * DAY)
    list(run.run())
    assert run.tally.found == 1
    assert len(stripe.requests) < 15


@sqlite_alone
def test_interrupted_twice_it_still_goes_on_for_the_same_command(
    fetch: Callable[..., Backfill], stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(n, n * 3600) for n in range(1, 60)]
    ends: list[Any] = []
    for _ in range(2):
        run = fetch()
        run.resume()
        stripe.broken_after = len(stripe.requests) + 2
        with pytest.raises(StripeApiError):
            ends.extend(run.run())
    assert ends == sorted(ends)
    assert len(ends) == 4
    stripe.broken_after = None
    last = fetch(since=NOW - 3 * DAY + 60)  # "3d" is a minute later now
    assert last.resume() == ends[-1]
    list(last.run())
    assert fetch().resume() is None


@sqlite_alone
def test_an_earlier_start_another_key_or_other_events_begin_anew(
    fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe, make_settings: Callable[..., Settings]
) -> None:
    stripe.lists["/v1/events"] = [bought(1, DAY)]
    stripe.broken_after = 1
    with pytest.raises(StripeApiError):
        list(fetch().run())
    assert fetch().resume() is not None
    assert fetch(since=NOW - 4 * DAY).resume() is None
    assert fetch(account="acct_1").resume() is None
    other = StripeApi("sk_test_other", stripe.url)
    assert Backfill(other, ledger, SOURCE, make_policy(make_settings()), since=NOW - 3 * DAY).resume() is None


def test_what_came_as_a_webhook_is_not_touched(
    fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe
) -> None:
    event = bought(1, 60)
    inbound = Inbound(json.dumps(event).encode(), {})
    run = fetch()
    arrival = Arrival("stripe", SOURCE.map(inbound, run._policy.rules), inbound, {}, datetime.now(UTC))
    ledger.transact(lambda tx: record(tx, [arrival], run._policy))
    stripe.lists["/v1/events"] = [event]
    list(run.run())
    assert (run.tally.duplicate, run.tally.new) == (1, 0)
    assert one(ledger, "SELECT received_count FROM events")[0] == 1


def test_invoice_and_session_of_one_purchase_meet(
    fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe
) -> None:
    old = world.subscription(old=False)
    stripe.lists["/v1/events"] = [listed(kind, thing, 600 - n) for n, (kind, thing) in enumerate(old.events)]
    message: list[Receipt] = []
    run = fetch(after_commit=message.extend)
    list(run.run())
    payload = json.loads(one(ledger, "SELECT payload FROM deliveries WHERE kind = 'sale'")[0])
    assert (payload["clickId"], payload["customerExternalId"]) == (old.click, old.customer)
    assert run.tally.sales == 1
    assert any(receipt.delivers for receipt in message)


def test_a_connected_accounts_events_have_the_keys_of_their_webhooks(
    fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(1, 60)]
    list(fetch(account="acct_1").run())
    assert one(ledger, "SELECT event_key FROM events")[0] == "stripe:acct_1:evt_1"
    assert one(ledger, "SELECT dedupe_key FROM deliveries")[0] == "sale:stripe:acct_1:pi_1"


@sqlite_alone
def test_one_bad_event_harms_no_other(fetch: Callable[..., Backfill], ledger: Ledger, stripe: FakeStripe) -> None:
    stripe.lists["/v1/events"] = [bought(1, 60), {**bought(2, 50), "object": "balance"}, bought(3, 40)]
    run = fetch()
    list(run.run())
    assert (run.tally.sales, run.tally.failed) == (2, ["evt_2"])


@sqlite_alone
def test_older_than_thirty_days_is_said(
    make_settings: Callable[..., Settings], ledger_url: str, stripe: FakeStripe
) -> None:
    make_settings(DATABASE_URL=ledger_url, STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url)
    result = CliRunner().invoke(main, ["backfill", "stripe", "--since", "40d", "--json"])
    assert result.exit_code == 0
    assert "Stripe keeps events for 30 days" in result.stderr
    assert json.loads(result.stdout)["found"] == 0


@sqlite_alone
@pytest.mark.parametrize("command", ["backfill", "reconcile"])
def test_a_start_that_lies_ahead_is_refused(
    make_settings: Callable[..., Settings], ledger_url: str, stripe: FakeStripe, command: str
) -> None:
    make_settings(DATABASE_URL=ledger_url, STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url)
    result = CliRunner().invoke(main, [command, "stripe", "--since", "2090-01-01"])
    assert result.exit_code == 2
    assert "lies ahead" in result.stderr
    assert stripe.requests == []


@sqlite_alone
def test_a_test_key_where_test_events_are_ignored_is_said(
    make_settings: Callable[..., Settings], ledger_url: str, stripe: FakeStripe
) -> None:
    stripe.lists["/v1/events"] = [bought(1, 60)]
    known = {"DATABASE_URL": ledger_url, "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
    make_settings(**known, STRIPE_ALLOW_TEST_EVENTS="0")
    result = CliRunner().invoke(main, ["backfill", "stripe", "--since", "1h"])
    assert "1 ignored" in result.stdout
    assert "STRIPE_API_KEY is a test key, and test events are ignored here" in result.stderr
    make_settings(**known, STRIPE_ALLOW_TEST_EVENTS="1")
    assert "test key" not in CliRunner().invoke(main, ["backfill", "stripe", "--since", "1h"]).stderr
