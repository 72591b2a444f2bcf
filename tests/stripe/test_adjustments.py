"""A refund is shown once beside its Sale, whichever of Stripe's events report it, and in whatever order they come."""

import itertools
from typing import Any

import pytest

from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import delivery as delivery_of
from app.ledger.reading.persons import journey
from app.ledger.reading.persons import person as person_of
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder


class Shop:
    """One paid charge in a ledger, its refunds, and what is shown of them."""

    def __init__(self, ledger: Ledger, *, connected: str | None = None) -> None:
        self.world = world.World(old=False)
        self.recorder = Recorder(ledger)
        self.envelope: dict[str, Any] = {"account": connected} if connected else {}
        self.recorder.take(world.body("checkout.session.completed", self.world.session(), **self.envelope))

    def summed(self, amount: int, number: int = 5, **fields: Any) -> bytes:
        charge = self.world.charge(amount_refunded=amount, refunded=amount == 4900, **fields)
        return world.body("charge.refunded", charge, number, **self.envelope)

    def refund(self, event: str, identity: str, amount: int, number: int = 5, status: str = "succeeded") -> bytes:
        w = self.world
        refund = {
            "id": f"{identity}_{w.tail}",
            "object": "refund",
            "amount": amount,
            "currency": "usd",
            "status": status,
        }
        named = {"charge": w.ch, "payment_intent": w.pi, "created": world.CREATED}
        return world.body(f"refund.{event}", refund | named, number, **self.envelope)

    def shown(self) -> list[tuple[str, int, str]]:
        """(id without its tail, minor units, status) of each, as the delivery's page and the API have it."""
        with self.recorder.ledger.read() as tx:
            newest = tx.run("SELECT max(id) FROM deliveries").scalar_one()
            delivery = delivery_of(tx, newest)
            person = person_of(tx, delivery["person_id"])
            assert person is not None
            steps = [step["key"] for step in journey(tx, person) if step["what"] in ("refund", "dispute")]
        assert steps == [one["reference"] for one in delivery["marks"]]
        short = [one["reference"].removesuffix(f"_{self.world.tail}") for one in delivery["marks"]]
        return [(name, one["amount_minor"], one["status"]) for name, one in zip(short, delivery["marks"], strict=True)]


@pytest.mark.parametrize("connected", [None, "acct_1"])
def test_a_refund_that_three_events_report_is_shown_once_in_every_order(ledger: Ledger, connected: str | None) -> None:
    for order in itertools.permutations(range(3)):
        shop = Shop(ledger, connected=connected)
        events = [
            shop.refund("created", "re_1", 900, 1, "pending"),
            shop.summed(900),
            shop.refund("updated", "re_1", 900, 9),
        ]
        for place in order:
            shop.recorder.take(events[place])
        assert shop.shown() == [("re_1", 900, "succeeded")], order


def test_partial_refunds_are_shown_one_by_one_and_their_sum_is_not(ledger: Ledger) -> None:
    shop = Shop(ledger)
    shop.recorder.take(shop.refund("created", "re_1", 900, 1), shop.summed(900, 1))
    shop.recorder.take(shop.summed(4900, 2), shop.refund("created", "re_2", 4000, 2))
    assert shop.shown() == [("re_1", 900, "succeeded"), ("re_2", 4000, "succeeded")]


def test_of_a_sum_what_no_refund_of_its_own_accounts_for_is_shown(ledger: Ledger) -> None:
    shop = Shop(ledger)
    shop.recorder.take(shop.summed(900, 1))
    assert shop.shown() == [(f"{shop.world.ch}:refunded", 900, "partially_refunded")]
    shop.recorder.take(shop.refund("created", "re_2", 4000, 2), shop.summed(4900, 3))
    assert shop.shown() == [("re_2", 4000, "succeeded"), (f"{shop.world.ch}:refunded", 900, "refunded")]


def test_a_refund_that_failed_is_shown_as_that_and_counts_in_no_later_sum(ledger: Ledger) -> None:
    shop = Shop(ledger)
    shop.recorder.take(shop.refund("created", "re_1", 900, 1, "pending"), shop.summed(900, 1))
    shop.recorder.take(shop.refund("failed", "re_1", 900, 2, "failed"))
    assert shop.shown() == [("re_1", 900, "failed")]
    shop.recorder.take(shop.summed(700, 3))
    assert shop.shown() == [("re_1", 900, "failed"), (f"{shop.world.ch}:refunded", 700, "partially_refunded")]


def test_a_refund_whose_events_name_other_ids_has_its_latest_state_alone(ledger: Ledger) -> None:
    shop = Shop(ledger)
    shop.recorder.take(shop.refund("created", "re_1", 900, 1, "pending"))
    w = shop.world
    refund = {"id": f"re_1_{w.tail}", "object": "refund", "amount": 900, "currency": "usd", "status": "succeeded"}
    shop.recorder.take(world.body("refund.updated", refund | {"payment_intent": w.pi}, 2))
    assert shop.shown() == [("re_1", 900, "succeeded")]


def test_refunds_of_another_payment_and_a_dispute_are_not_taken_for_a_part_of_the_sum(ledger: Ledger) -> None:
    shop = Shop(ledger)
    w = shop.world
    dispute = {"id": f"dp_1_{w.tail}", "object": "dispute", "amount": 4900, "currency": "usd", "status": "lost"}
    shop.recorder.take(world.body("charge.dispute.closed", dispute | {"charge": w.ch, "payment_intent": w.pi}, 1))
    other = {"id": f"re_9_{w.tail}", "object": "refund", "amount": 900, "currency": "usd", "status": "succeeded"}
    shop.recorder.take(world.body("refund.created", other | {"charge": "ch_other", "payment_intent": w.pi}, 2))
    shop.recorder.take(shop.summed(900, 3))
    assert [amount for _, amount, _ in shop.shown()] == [4900, 900, 900]


def test_a_refund_that_comes_before_its_sale_is_shown_once(ledger: Ledger) -> None:
    shop = Shop(ledger)
    shop.world = world.World(old=False)
    shop.recorder.take(shop.summed(4900, 5), shop.refund("updated", "re_1", 4900, 5))
    shop.recorder.take(world.body("checkout.session.completed", shop.world.session()))
    assert shop.shown() == [("re_1", 4900, "succeeded")]


def test_what_was_authorized_and_not_captured_is_no_refund(ledger: Ledger) -> None:
    shop = Shop(ledger)
    shop.world = w = world.World(old=False)
    shop.recorder.take(world.body("payment_intent.succeeded", w.intent(2000, capture_method="manual")))
    shop.recorder.take(shop.summed(2900, 1, amount_captured=2000))
    assert shop.shown() == []
    shop.recorder.take(shop.summed(3400, 2, amount_captured=2000), shop.refund("created", "re_1", 500, 2))
    assert shop.shown() == [("re_1", 500, "succeeded")]
    shop.recorder.take(shop.summed(4900, 3, amount_captured=2000))
    assert shop.shown() == [("re_1", 500, "succeeded"), (f"{w.ch}:refunded", 1500, "refunded")]
