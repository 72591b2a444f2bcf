"""Which events are one purchase and which are two, and whose it is: the cases that a shuffle of whole purchases does not hold."""

import itertools
from typing import Any

import pytest

from app.ledger.actions.replay import apply_to, replay, undo_discard
from app.ledger.engine import Ledger
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder

OPTED_IN = frozenset({"checkout", "invoice", "payment_intent"})


def guest(old: bool = False) -> world.World:
    """The ids of a purchase without a customer at Stripe."""
    found = world.World(old)
    found.cus = None  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("receipt", ["p@example.com", "another@example.com", None])
def test_a_guests_capture_by_hand_keeps_who_the_session_named(ledger: Ledger, receipt: str | None) -> None:
    recorder, w = Recorder(ledger), guest()
    recorder.take(world.body("checkout.session.completed", w.session(payment_status="unpaid")))
    captured = w.intent(capture_method="manual", receipt_email=receipt)
    (receipts,) = recorder.take(world.body("payment_intent.succeeded", captured))
    assert receipts.outcome == "sale"
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)


@pytest.mark.parametrize("receipt", ["p@example.com", "another@example.com", None])
def test_a_guests_session_names_who_the_held_intent_did_not(ledger: Ledger, receipt: str | None) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), guest()
    recorder.take(world.body("payment_intent.succeeded", w.intent(receipt_email=receipt)))
    recorder.take(world.body("checkout.session.completed", w.session()))
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)
    assert recorder.conflicts() == []


def test_an_invoice_of_nobody_at_stripe_is_named_by_its_session(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), guest()
    recorder.take(world.body("invoice.paid", w.invoice(4900, "manual", customer_email="billing@example.com")))
    recorder.take(world.body("checkout.session.completed", w.session(invoice=w.invoice_id)))
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["customerExternalId"]) == (w.click, w.customer)


def test_two_guests_are_two_persons(ledger: Ledger) -> None:
    recorder, first, second = Recorder(ledger), guest(), guest()
    for w in (first, second):
        recorder.take(world.body("checkout.session.completed", w.session()))
    assert [sale["customerExternalId"] for sale in recorder.payloads("sale")] == [first.customer, second.customer]


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_payment_counted_and_tied_to_its_invoice_within_one_group_is_withdrawn(ledger: Ledger, is_sent: bool) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(False)
    recorder.take(world.body("invoice.paid", w.invoice(4900, "manual")))
    recorder.take(world.body("charge.succeeded", w.charge()))
    if is_sent:
        recorder.send_all()
    paid = world.body("payment_intent.succeeded", w.intent())
    recorder.take(paid, world.body("invoice_payment.paid", w.invoice_payment()))
    assert [sale["invoiceId"] for sale in recorder.payloads("sale")] == [w.invoice_id]
    assert recorder.conflicts() == []


@pytest.mark.parametrize("later", ["charge.captured", "charge.updated", "checkout.session.completed"])
def test_money_of_nobody_is_counted_when_a_later_event_says_whose_it_is(ledger: Ledger, later: str) -> None:
    recorder, w = Recorder(ledger), guest()
    unidentified = w.intent(capture_method="manual", receipt_email=None)
    (parked,) = recorder.take(world.body("payment_intent.succeeded", unidentified))
    assert parked.outcome == "parked"
    named = w.session(payment_status="unpaid") if later.startswith("checkout") else w.charge()
    recorder.take(world.body(later, named))
    recorder.take(world.body(later, named))
    (sale,) = recorder.payloads("sale")
    assert (sale["email"], sale["amount"], sale["invoiceId"]) == (w.email, 49, w.pi)
    with ledger.read() as tx:
        assert tx.run("SELECT count(*) FROM events WHERE outcome = 'parked'").scalar_one() == 0
        assert tx.run("SELECT outcome FROM events WHERE id = ?", parked.id).scalar_one() == "sale"


def test_money_of_nobody_that_an_invoice_counts_leaves_nothing_parked(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), guest()
    recorder.take(world.body("payment_intent.succeeded", w.intent(receipt_email=None)))
    recorder.take(world.body("invoice.paid", w.invoice(4900, "manual")))
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    assert len(recorder.payloads("sale")) == 1
    with ledger.read() as tx:
        assert tx.run("SELECT count(*) FROM events WHERE outcome = 'parked'").scalar_one() == 0


def test_an_intent_that_names_nobody_leaves_no_person_behind(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), guest()
    unidentified = w.intent(capture_method="manual", receipt_email=None)
    (receipt,) = recorder.take(world.body("payment_intent.succeeded", unidentified))
    assert receipt.outcome == "parked"
    with ledger.read() as tx:
        assert tx.run("SELECT count(*) FROM persons").scalar_one() == 0


def test_two_first_invoices_of_one_subscription_are_two_sales(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    other = w.later()
    for each, amount in ((w, 4900), (other, 700)):
        recorder.take(world.body("invoice.paid", each.invoice(amount, "subscription_create")))
    assert [sale["invoiceId"] for sale in recorder.payloads("sale")] == [w.invoice_id, other.invoice_id]


@pytest.mark.parametrize("session_first", [True, False])
def test_a_session_that_names_its_subscription_alone_is_one_with_the_first_of_its_invoices(
    ledger: Ledger, session_first: bool
) -> None:
    recorder, w = Recorder(ledger), world.World(old=True)
    session = w.session(mode="subscription", payment_intent=None, subscription=w.sub)
    events = [("checkout.session.completed", session), ("invoice.paid", w.invoice(4900, "subscription_create"))]
    for event_type, obj in events if session_first else events[::-1]:
        recorder.take(world.body(event_type, obj))
    recorder.take(world.body("invoice.paid", w.later().invoice(700, "subscription_create")))
    assert [sale["amount"] for sale in recorder.payloads("sale")] == [49, 7]


def in_orders(*events: str) -> list[Any]:
    """The events one by one in the order given, in the other, and in one group."""
    return [
        pytest.param([[event] for event in events], id="one-by-one"),
        pytest.param([[event] for event in events[::-1]], id="the-other-way-round"),
        pytest.param([list(events)], id="in-one-group"),
    ]


@pytest.mark.parametrize("groups", in_orders("payment_intent.succeeded", "invoice.paid"))
def test_a_held_intent_that_turns_out_to_be_an_invoices_is_withdrawn_unsent(
    ledger: Ledger, groups: list[list[str]]
) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(old=False)
    made = {"payment_intent.succeeded": w.intent(), "invoice.paid": w.invoice(4900, "subscription_cycle")}
    for group in groups:
        recorder.take(*[world.body(event_type, made[event_type]) for event_type in group])
    link = world.body("invoice_payment.paid", w.invoice_payment())
    recorder.take(link)
    open_ones = [key for key, status in recorder.deliveries() if status != "discarded"]
    assert open_ones == [f"sale:stripe:{w.invoice_id}"]
    assert recorder.conflicts() == []
    (again,) = recorder.take(world.body("payment_intent.succeeded", w.intent()))
    assert again.outcome in ("duplicate", "ignored")
    assert len(recorder.deliveries()) == 2
    with ledger.read() as tx:
        assert "discard" in tx.run("SELECT action FROM audit").scalars().all()


def test_a_held_intent_and_its_invoice_linked_in_one_group_are_one_sale(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(old=False)
    events = [
        ("payment_intent.succeeded", w.intent()),
        ("invoice.paid", w.invoice(4900, "subscription_cycle")),
        ("invoice_payment.paid", w.invoice_payment()),
    ]
    recorder.take(*[world.body(event_type, obj) for event_type, obj in events])
    assert [sale["invoiceId"] for sale in recorder.payloads("sale")] == [w.invoice_id]


def test_an_intent_that_was_sent_before_its_invoice_was_known_stays_and_is_a_conflict(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(old=False)
    recorder.take(world.body("payment_intent.succeeded", w.intent()))
    recorder.send_all()
    recorder.take(world.body("invoice.paid", w.invoice(4900, "subscription_cycle")))
    recorder.send_all()
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    assert [status for _, status in recorder.deliveries()] == ["delivered", "delivered"]
    (conflict,) = recorder.conflicts()
    assert "both counted" in conflict


@pytest.mark.parametrize("length", [25, 27, None], ids=["cut", "whole", "longer-than-an-id"])
def test_an_intent_that_tells_its_invoices_id_is_linked_to_it_cut_or_whole(ledger: Ledger, length: int | None) -> None:
    """Its first 25 characters in some bodies, the whole id in others (seen in 2026-01-28.clover)."""
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(old=False)
    recorder.take(world.body("invoice.paid", w.invoice(4900, "subscription_cycle")))
    message = w.invoice_id[:length] if length else w.invoice_id + "abc"
    intent = w.intent(payment_details={"order_reference": message})
    (receipt,) = recorder.take(world.body("payment_intent.succeeded", intent))
    assert receipt.outcome == ("duplicate" if length else "ignored")
    assert len(recorder.payloads("sale")) == 1
    assert (recorder.state_of(w.pi) == "counted") is (length is not None)


@pytest.mark.parametrize("cut", [25, 27])
@pytest.mark.parametrize("order", list(itertools.permutations(("intent", "session", "invoice"))))
def test_an_order_reference_ties_session_and_invoice_in_every_order(
    ledger: Ledger, order: tuple[str, ...], cut: int
) -> None:
    recorder, w = Recorder(ledger), world.World(False)
    intent = w.intent(payment_details={"order_reference": w.invoice_id[:cut]})
    bodies = {
        "intent": world.body("payment_intent.succeeded", intent),
        "session": world.body("checkout.session.completed", w.session()),
        "invoice": world.body("invoice.paid", w.invoice(4900, "manual")),
    }
    for name in order:
        recorder.take(bodies[name])
    assert len(recorder.open_or_sent()) == 1
    (sale,) = recorder.payloads("sale")
    assert (sale["clickId"], sale["amount"]) == (w.click, 49)


def test_two_payments_of_one_invoice_stay_two_where_invoices_are_not_counted(ledger: Ledger) -> None:
    recorder, first = Recorder(ledger, sale_events=frozenset({"payment_intent"})), world.World(False)
    second = world.World(False)
    for w in (first, second):
        reference = {"order_reference": first.invoice_id[:25]}
        recorder.take(world.body("payment_intent.succeeded", w.intent(payment_details=reference)))
    assert len(recorder.payloads("sale")) == 2


def test_what_a_rule_closed_is_sent_by_no_replay_and_by_no_undo(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(False)
    recorder.take(world.body("invoice.paid", w.invoice(4900, "manual")))
    recorder.take(world.body("payment_intent.succeeded", w.intent()))
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    bought = world.World(False)
    recorder.take(world.body("checkout.session.completed", bought.session()))
    recorder.take(world.body("charge.refunded", bought.charge(amount_refunded=4900), 5))
    with ledger.write() as tx:
        rows = tx.run("SELECT id, last_error FROM deliveries WHERE status = 'discarded' ORDER BY id").all()
        (joined, reason), (refunded, _) = rows
        assert reason == f"it is one purchase with sale:stripe:{w.invoice_id}, which is sent"
        assert apply_to(tx, [joined, refunded], "replay", actor="ada") == []
        for again in (replay(tx, joined, actor="ada", force=True), undo_discard(tx, joined, actor="ada")):
            assert (again.done, again.message) == (False, f"{reason}: skipped")
        assert "--force" in replay(tx, refunded, actor="ada").message
        assert replay(tx, refunded, actor="ada", force=True).done
