"""Whom a held conversion is about, asked at Stripe by a worker: once, in time, and harmlessly."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from app.bootstrap import make_policy
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.model import Inbound
from app.sources.stripe.source import SOURCE
from app.stack.processes import Machine
from app.stripe_api.client import StripeApi
from app.stripe_api.lookup import REFUSAL_PAUSE_SECONDS, Lookups
from tests.conftest import wait_for
from tests.stripe.test_client import ScriptedStripe, refusal
from tests.stripe.test_stripe_api import KEY
from tests.support import stripe_world as world
from tests.support.makers import count, one
from workers.lookups import LookupThreads, make_lookups
from workers.sweeper import Sweeper


@pytest.fixture
def stripe() -> Iterator[ScriptedStripe]:
    server = ScriptedStripe()
    yield server
    server.close()


@pytest.fixture
def policy(make_settings: Callable[..., Settings]) -> Policy:
    return make_policy(make_settings(STRIPE_HOLD="600"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A ledger, its policy, and look-ups at a Stripe that answers as scripted."""

    def __init__(self, ledger: Ledger, policy: Policy, stripe: ScriptedStripe) -> None:
        self.ledger, self.policy, self.stripe, self.clock = ledger, policy, stripe, Clock()
        api = StripeApi(KEY, stripe.url, retries=0, rate_limit_pauses=())
        self.lookups = Lookups(api, ledger, SOURCE, policy, clock=self.clock)

    def take(self, event_type: str, thing: dict[str, Any], **envelope: Any) -> Receipt:
        inbound = Inbound(world.body(event_type, thing, **envelope), {})
        mapped = SOURCE.map(inbound, self.policy.rules)
        arrival = Arrival("stripe", mapped, inbound, {}, datetime.now(UTC))
        return self.ledger.transact(lambda tx: record(tx, [arrival], self.policy))[0]

    def hold(self, old: bool = False, **envelope: Any) -> world.World:
        """The first invoice of a subscription, whose session did not come yet."""
        made = world.World(old)
        receipt = self.take("invoice.paid", made.invoice(4900, "subscription_create"), **envelope)
        assert receipt.outcome == "sale"
        return made

    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(one(self.ledger, "SELECT payload FROM deliveries ORDER BY id DESC")[0])
        return payload

    def held(self) -> list[int]:
        with self.ledger.read() as tx:
            return list(tx.run("SELECT held FROM deliveries ORDER BY id").scalars())

    @property
    def asked(self) -> list[str]:
        return [path for _, path, _ in self.stripe.requests]


@pytest.fixture
def bench(ledger: Ledger, policy: Policy, stripe: ScriptedStripe) -> Bench:
    return Bench(ledger, policy, stripe)


def subscription(made: world.World, customer: object, **metadata: str) -> dict[str, Any]:
    return {"id": made.sub, "object": "subscription", "customer": customer, "metadata": metadata}


def customer(made: world.World, **metadata: str) -> dict[str, Any]:
    return {"id": made.cus, "object": "customer", "email": made.email, "metadata": metadata}


def test_what_is_found_fills_the_blanks_and_lets_the_delivery_go(bench: Bench) -> None:
    made = bench.hold()
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(
        made, customer(made, user_id="user_old"), clickId="clk_old"
    )
    assert bench.lookups.look() == 1
    assert (bench.payload()["clickId"], bench.payload()["customerExternalId"]) == ("clk_old", "user_old")
    assert bench.held() == [0]
    assert one(bench.ledger, "SELECT due_at <= last_received_at FROM deliveries, events ORDER BY events.id DESC")[0]


def test_half_of_it_fills_the_blanks_while_the_session_may_still_tell_the_rest(bench: Bench) -> None:
    made = bench.hold()
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(made, made.cus)
    bench.stripe.objects[f"/v1/customers/{made.cus}"] = customer(made, user_id="user_old")
    bench.lookups.look()
    assert bench.payload()["customerExternalId"] == "user_old"
    assert bench.held() == [2]
    session = made.session(mode="subscription", payment_intent=None, invoice=made.invoice_id, subscription=made.sub)
    bench.take("checkout.session.completed", session | {"metadata": {}})
    assert (bench.payload()["clickId"], bench.payload()["customerExternalId"]) == (made.click, "user_old")
    assert bench.held() == [0]


def test_the_session_that_began_the_subscription_is_asked_where_the_others_are_silent(bench: Bench) -> None:
    made = bench.hold()
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(made, customer(made))
    began = made.session(mode="subscription", payment_intent=None, subscription=made.sub)
    bench.stripe.lists["/v1/checkout/sessions"] = [began]
    bench.lookups.look()
    assert (bench.payload()["clickId"], bench.payload()["customerExternalId"]) == (made.click, made.customer)
    assert bench.held() == [0]


def test_nothing_found_is_remembered_and_shown_and_not_asked_again(bench: Bench) -> None:
    made = bench.hold()
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(made, customer(made))
    assert (bench.lookups.look(), bench.lookups.look()) == (1, 0)
    shown = one(bench.ledger, "SELECT event_id, event_type, outcome, reason FROM events ORDER BY id DESC")
    assert shown[:3] == (f"lookup:{made.sub}", "customer.looked_up", "ignored")
    assert shown[3].endswith("nothing found")
    asked = len(bench.asked)
    next_invoice = made.invoice(4900, "manual", "in_another") | {"parent": None, "subscription": made.sub}
    bench.take("invoice.paid", next_invoice)
    bench.lookups.look()
    assert len(bench.asked) == asked


def test_an_object_that_is_gone_says_nothing(bench: Bench) -> None:
    bench.hold()
    assert bench.lookups.look() == 1
    assert bench.held() == [2]
    assert count(bench.ledger, "events") == 2


def test_who_is_known_already_is_not_looked_up(bench: Bench) -> None:
    made = world.World(old=False)
    bench.take("customer.created", customer(made, user_id="user_known"))
    bench.take("invoice.paid", made.invoice(4900, "subscription_create"))
    assert bench.lookups.look() == 0
    assert bench.asked == []


def test_of_a_connected_account_its_own_objects_are_asked(bench: Bench) -> None:
    made = bench.hold(account="acct_1")
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(
        made, customer(made, user_id="user_old"), clickId="clk_old"
    )
    bench.lookups.look()
    assert bench.payload()["clickId"] == "clk_old"
    assert one(bench.ledger, "SELECT event_key FROM events ORDER BY id DESC")[0] == f"stripe:acct_1:lookup:{made.sub}"


def test_a_refused_key_is_reported_once_and_left_alone_for_a_while(bench: Bench) -> None:
    bench.hold()
    bench.stripe.script = [refusal(403, "no")] * 5
    with structlog.testing.capture_logs() as logs:
        assert bench.lookups.look() == 0
        assert bench.held() == [1]
        bench.lookups.look()
        assert len(bench.asked) == 1
        bench.clock.now += REFUSAL_PAUSE_SECONDS + 1
        bench.lookups.look()
    assert len(bench.asked) == 2
    said = [line for line in logs if line["event"] == "lookup.failed"]
    assert [line["log_level"] for line in said] == ["error"]
    assert "Subscriptions: Read" in said[0]["error"]


def test_trouble_at_stripe_is_tried_again_within_the_hold(bench: Bench) -> None:
    made = bench.hold()
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(made, customer(made), clickId="clk_old")
    bench.stripe.script = [refusal(500, "oops"), refusal(429, "slowly")]
    for _ in range(3):
        bench.lookups.look()
        bench.clock.now += 6
    assert bench.payload()["clickId"] == "clk_old"


def test_a_key_that_may_not_read_sessions_does_without_them(bench: Bench) -> None:
    made = bench.hold()
    bench.stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(made, customer(made, user_id="user_old"))
    bench.stripe.script, bench.stripe.scripted = [refusal(403, "no")], "/v1/checkout"
    assert bench.lookups.look() == 1
    assert bench.payload()["customerExternalId"] == "user_old"


def test_many_threads_ask_for_each_person_once(ledger: Ledger, policy: Policy, stripe: ScriptedStripe) -> None:
    bench = Bench(ledger, policy, stripe)
    made = [bench.hold() for _ in range(12)]
    for each in made:
        stripe.objects[f"/v1/subscriptions/{each.sub}"] = subscription(
            each, customer(each, user_id=each.customer), clickId=each.click
        )
    threads = [threading.Thread(target=bench.lookups.look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bench.asked) == sorted(f"/v1/subscriptions/{each.sub}" for each in made)
    assert bench.held() == [0] * 12


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_workers_sweep_asks_and_waits_for_nothing(
    make_settings: Callable[..., Settings], ledger: Ledger, policy: Policy, stripe: ScriptedStripe
) -> None:
    bench = Bench(ledger, policy, stripe)
    made = bench.hold()
    stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(
        made, customer(made, user_id="user_old"), clickId="clk_old"
    )
    settings = make_settings(STRIPE_HOLD="600", STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url)
    lookups = make_lookups(settings, ledger)
    assert isinstance(lookups, LookupThreads)
    lookups.start()
    nudges: list[int] = []
    sweeper = Sweeper(
        ledger,
        1,
        Machine("here", "boot 1", "pid:[1]"),
        ["sandbox"],
        lambda: False,
        lambda: nudges.append(1),
        lookups.ask,
    )
    sweeper.sweep()
    wait_for(lambda: bench.held() == [0])
    assert nudges == []
    sweeper.sweep()
    assert nudges == [1]
    lookups.stop()
    assert make_lookups(make_settings(STRIPE_API_KEY=""), ledger) is None


def test_a_renewal_of_a_subscriber_older_than_the_bridge_waits_for_the_look_up(
    make_settings: Callable[..., Settings], ledger: Ledger, stripe: ScriptedStripe
) -> None:
    policy = make_policy(make_settings(STRIPE_HOLD="600", STRIPE_API_KEY=KEY))
    bench = Bench(ledger, policy, stripe)
    made = world.World(old=False)
    bench.take("invoice.paid", made.invoice(4900, "subscription_cycle"))
    assert bench.held() == [1]
    stripe.objects[f"/v1/subscriptions/{made.sub}"] = subscription(
        made, customer(made, user_id="user_old"), clickId="clk_old"
    )
    bench.lookups.look()
    assert (bench.payload()["clickId"], bench.payload()["customerExternalId"]) == ("clk_old", "user_old")
    assert bench.held() == [0]
    bench.take("invoice.paid", made.invoice(4900, "subscription_cycle", "in_next"))
    assert bench.held() == [0, 0]
