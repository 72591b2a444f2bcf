"""Which events are one purchase and which are two, and whose it is: the cases that a shuffle of whole purchases does not hold."""

import pytest

from tests import stripe_world as world
from tests.stripe_recorder import Recorder

OPTED_IN = frozenset({"checkout", "invoice", "payment_intent"})


def guest(old: bool = False) -> world.World:
    """The ids of a purchase without a customer at Stripe."""
    found = world.World(old)
    found.cus = None  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("receipt", ["p@example.com", "another@example.com", None])
def test_a_guests_capture_by_hand_keeps_who_the_session_named(ledger, receipt):
    recorder, w = Recorder(ledger), guest()
    recorder.take(world.body("checkout.session.completed", w.session(payment_status="unpaid")))
    captured = w.intent(capture_method="manual", receipt_email=receipt)
    (receipts,) = recorder.take(world.body("payment_intent.succeeded", captured))
    assert receipts.outcome == "sale"
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)


@pytest.mark.parametrize("receipt", ["p@example.com", "another@example.com", None])
def test_a_guests_session_names_who_the_held_intent_did_not(ledger, receipt):
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), guest()
    recorder.take(world.body("payment_intent.succeeded", w.intent(receipt_email=receipt)))
    recorder.take(world.body("checkout.session.completed", w.session()))
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)
    assert recorder.conflicts() == []


def test_an_invoice_of_nobody_at_stripe_is_named_by_its_session(ledger):
    recorder, w = Recorder(ledger), guest()
    recorder.take(world.body("invoice.paid", w.invoice(4900, "manual", customer_email="billing@example.com")))
    recorder.take(world.body("checkout.session.completed", w.session(invoice=w.invoice_id)))
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)


def test_two_guests_are_two_persons(ledger):
    recorder, first, second = Recorder(ledger), guest(), guest()
    for w in (first, second):
        recorder.take(world.body("checkout.session.completed", w.session()))
    assert [sale["customerExternalId"] for sale in recorder.payloads("sale")] == [first.customer, second.customer]


def test_an_intent_that_names_nobody_leaves_no_person_behind(ledger):
    recorder, w = Recorder(ledger), guest()
    nameless = w.intent(capture_method="manual", receipt_email=None)
    (receipt,) = recorder.take(world.body("payment_intent.succeeded", nameless))
    assert receipt.outcome == "parked"
    with ledger.read() as c:
        assert ledger.run(c, "SELECT count(*) FROM persons").scalar_one() == 0
