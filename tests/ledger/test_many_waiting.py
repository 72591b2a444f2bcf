"""A person with thousands of waiting deliveries: a further event costs bounded work, and what is sent is still up to date."""

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from app.destinations.formats.registry import format_of
from app.ledger.actions.replay import apply_to, discard, replay, undo_discard
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import ensure_destination
from app.ledger.forwarding.claims import claim
from app.ledger.forwarding.outcomes import Outcome, finish
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.ledger.recording.refresh import MOST, refresh
from app.model import Facts, Inbound, Rules
from app.sources.stripe.source import SOURCE as STRIPE
from tests.support.makers import checkout, count

MANY = 4 * MOST


class Counting:
    """A format that counts how often it renders."""

    name = "events"

    def __init__(self) -> None:
        self.rendered = 0
        self._real = format_of("events")

    def body(self, facts: Facts) -> Any:
        self.rendered += 1
        return self._real.body(facts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Desk:
    """Records events of one person, and sends."""

    def __init__(self, ledger: Ledger, *, first_touch: bool = True, hold_seconds: float = 0) -> None:
        self.ledger = ledger
        self.dialect = Counting()
        self.policy = Policy(
            rules=Rules(accept_test_events=True),
            routes=[Route("main", self.dialect, first_touch=first_touch)],
            person_hold_seconds=hold_seconds,
            purchase_hold_seconds=hold_seconds,
        )
        self.number = 0
        with ledger.write() as tx:
            ensure_destination(tx, "main", "print")

    def buy(self, times: int = 1, **metadata: str) -> int:
        """How often something was rendered while these purchases were recorded."""
        before = self.dialect.rendered
        for start in range(0, times, 50):
            arrivals = [self._arrival(metadata) for _ in range(min(50, times - start))]
            self.ledger.transact(partial(record, arrivals=arrivals, policy=self.policy))
        return self.dialect.rendered - before

    def _arrival(self, metadata: dict[str, str]) -> Arrival:
        self.number += 1
        details = {"email": "ada@example.com"}
        body = checkout(self.number, metadata=metadata, customer="cus_1", customer_details=details)
        inbound = Inbound(body, {})
        return Arrival("stripe", STRIPE.map(inbound, self.policy.rules), inbound, {}, datetime.now(UTC))

    def send(self) -> list[dict[str, Any]]:
        """The payloads of one claim, which are delivered."""
        with self.ledger.write() as tx:
            now = tx.now()
            claimed = claim(tx, "main", "1.1", limit=8, now=now, claim_ms=60_000, hold_ms=0)
            claimed = refresh(tx, claimed, self.policy.routes[0])
            outcomes = [Outcome(one, "delivered", now, 1, 200) for one in claimed]
            finish(tx, "main", outcomes, now=now, token_print="print")
        return [json.loads(one.payload) for one in claimed]

    def payloads(self) -> list[dict[str, Any]]:
        with self.ledger.read() as tx:
            return [json.loads(text) for text in tx.run("SELECT payload FROM deliveries ORDER BY id").scalars()]


def test_an_event_that_changes_nothing_in_the_payloads_renders_itself_alone(ledger: Ledger) -> None:
    desk = Desk(ledger)
    desk.buy(MANY, user_id="u1", click_id="clk_1")
    assert desk.buy(user_id="u1", click_id="clk_1") == 1
    assert desk.buy(user_id="u1", click_id="clk_2") == 1, "a later click, where the first one counts"


@pytest.mark.parametrize("first_touch", [True, False])
def test_each_event_that_changes_the_payloads_renders_a_bounded_number(ledger: Ledger, first_touch: bool) -> None:
    desk = Desk(ledger, first_touch=first_touch)
    desk.buy(MANY, user_id="u1")
    for number in range(3):
        assert desk.buy(user_id="u1", click_id=f"clk_{number}") <= MOST + 1


@pytest.mark.parametrize("first_touch", [True, False])
def test_what_is_sent_shows_all_that_was_known_when_it_was_claimed(ledger: Ledger, first_touch: bool) -> None:
    desk = Desk(ledger, first_touch=first_touch)
    desk.buy(MANY, user_id="u1")
    desk.buy(user_id="u1", click_id="clk_1")
    desk.buy(user_id="u1", click_id="clk_2")
    assert count(ledger, "stale_payloads") == 1
    sent = []
    while found := desk.send():
        sent += found
    assert len(sent) == MANY + 2
    assert {one["clickId"] for one in sent} == {"clk_1" if first_touch else "clk_2"}
    assert sent == desk.payloads(), "what was sent is what stands in the ledger"
    assert count(ledger, "stale_payloads") == 0


def test_few_are_rendered_at_once_so_that_their_pages_are_up_to_date(ledger: Ledger) -> None:
    desk = Desk(ledger)
    desk.buy(MOST - 1, user_id="u1")
    desk.buy(user_id="u1", click_id="clk_1")
    assert {one["clickId"] for one in desk.payloads()} == {"clk_1"}
    assert count(ledger, "stale_payloads") == 0


def test_those_that_are_held_for_their_person_go_when_it_is_named(ledger: Ledger) -> None:
    desk = Desk(ledger, hold_seconds=900)
    desk.buy(MANY, user_id="u1")
    with ledger.write() as tx:
        tx.run("UPDATE deliveries SET held = 1, due_at = due_at + 900000")
    desk.buy(user_id="u1", click_id="clk_1")
    with ledger.read() as tx:
        assert tx.run("SELECT COUNT(*) FROM deliveries WHERE held > 0 OR due_at > ?", tx.now()).scalar_one() == 0
    assert desk.buy(user_id="u1", click_id="clk_1") == 1, "once"


@pytest.mark.parametrize("reopened_by", ["undo", "replay", "bulk replay"])
def test_what_was_learned_while_a_delivery_was_discarded_is_in_what_is_sent(ledger: Ledger, reopened_by: str) -> None:
    desk = Desk(ledger)
    desk.buy()
    with ledger.write() as tx:
        (first,) = tx.run("SELECT id FROM deliveries").scalars()
        assert discard(tx, first, actor="ada").done
    desk.buy(user_id="u1", click_id="clk_1")
    with ledger.write() as tx:
        if reopened_by == "bulk replay":
            assert apply_to(tx, [first], "replay", actor="ada") == [first]
        else:
            assert (undo_discard if reopened_by == "undo" else replay)(tx, first, actor="ada").done
    sent = [(payload["clickId"], payload["customerExternalId"]) for payload in (*desk.send(), *desk.send())]
    assert sent == [("clk_1", "u1")] * 2
