"""What one event of a purchase says is known to all others, in whatever order they come."""

import itertools
from typing import Any

import pytest

from app.ledger.engine import Ledger
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder

OPTED_IN = frozenset({"checkout", "invoice", "payment_intent"})


def groups_of(events: list[bytes], size: int) -> list[list[bytes]]:
    return [events[start : start + size] for start in range(0, len(events), size)]


def tied_late(w: world.World) -> dict[str, bytes]:
    """Session, invoice and the link of one purchase, of which the first two do not name each other."""
    return {
        "session": world.body("checkout.session.completed", w.session()),
        "invoice": world.body("invoice.paid", w.invoice(4900, "manual")),
        "link": world.body("invoice_payment.paid", w.invoice_payment()),
    }


def test_a_session_and_an_invoice_that_are_tied_within_the_hold_are_one_sale_in_any_order(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    for order, size in itertools.product(itertools.permutations(("session", "invoice", "link")), (1, 2, 3)):
        w, start = world.World(old=False), recorder.newest()
        events = tied_late(w)
        for group in groups_of([events[name] for name in order], size):
            recorder.take(*group)
            recorder.send_due()
        (sale,) = recorder.payloads("sale", after=start)
        assert sale["invoiceId"] in (w.pi, w.invoice_id), order
        assert (sale["amount"], sale["clickId"], sale["customerExternalId"]) == (49, w.click, w.customer), order
    assert recorder.conflicts() == []


def test_an_intent_that_tells_its_invoice_ties_it_to_the_session_as_the_link_does(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    events = tied_late(w)
    for body in (events["session"], events["invoice"]):
        recorder.take(body)
        recorder.send_due()
    recorder.take(world.body("payment_intent.succeeded", w.intent(invoice=w.invoice_id)))
    assert recorder.open_or_sent() == [f"sale:stripe:{w.pi}"]


def test_an_invoice_whose_payment_is_known_does_not_wait_for_the_link(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    events = tied_late(w)
    recorder.take(events["link"])
    recorder.take(events["session"])
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"]
    w = world.World(old=False)
    recorder.take(
        world.body("invoice.paid", w.invoice(4900, "manual", metadata={"user_id": w.customer, "clickId": w.click}))
    )
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered", "delivered"]


def test_two_sales_that_are_tied_after_both_were_sent_are_a_conflict_and_both_stand(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    events = tied_late(w)
    recorder.take(events["session"], events["invoice"])
    recorder.send_all()
    recorder.take(events["link"])
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    assert [status for _, status in recorder.deliveries()] == ["delivered", "delivered"]
    (conflict,) = recorder.conflicts()
    assert "both counted" in conflict


def test_where_two_destinations_got_one_of_the_two_each_gets_no_other(ledger: Ledger) -> None:
    from app.destinations.formats.events import Events
    from app.ledger.recording.arrival import Policy, Route

    recorder, w = Recorder(ledger), world.World(old=False)
    recorder.policy = Policy(recorder.policy.rules, [Route("main", Events()), Route("crm", Events())])
    events = tied_late(w)
    recorder.take(events["session"], events["invoice"])
    sent = "UPDATE deliveries SET status = 'delivered', attempts = 1, due_at = NULL WHERE dedupe_key = ? AND destination = ?"
    with ledger.write() as tx:
        tx.run(sent, f"sale:stripe:{w.pi}", "main")
        tx.run(sent, f"sale:stripe:{w.invoice_id}", "crm")
    recorder.take(events["link"])
    with ledger.read() as tx:
        rows = tx.run("SELECT destination, dedupe_key FROM deliveries WHERE status <> 'discarded' ORDER BY 1").all()
    assert [tuple(row) for row in rows] == [("crm", f"sale:stripe:{w.invoice_id}"), ("main", f"sale:stripe:{w.pi}")]
    assert recorder.conflicts() == []


# --- what an ignored event says of a purchase ---------------------------------------------------------------------------


def guest_with_metadata(w: world.World) -> dict[str, tuple[str, dict[str, Any]]]:
    """The events of a guest's purchase made with payment_intent_data.metadata: its session carries none of it."""
    message: dict[str, Any] = {
        "metadata": {"user_id": w.customer, "clickId": w.click},
        "customer": None,
        "receipt_email": None,
    }
    return {
        "created": ("payment_intent.created", w.intent(0, **message, latest_charge=None)),
        "intent": ("payment_intent.succeeded", w.intent(**message)),
        "charge": ("charge.succeeded", w.charge(**message)),
        "session": ("checkout.session.completed", w.session(customer=None, client_reference_id=None, metadata={})),
    }


ORDERS = [
    order
    for names in (
        ("created", "intent", "charge", "session"),
        *((one, "session") for one in ("created", "intent", "charge")),
    )
    for order in itertools.permutations(names)
]


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "in-one-group"])
def test_a_guests_ids_on_another_event_of_the_purchase_reach_its_sale_in_any_order(
    ledger: Ledger, together: bool
) -> None:
    recorder = Recorder(ledger)
    for order in ORDERS:
        w = world.World(old=False)
        events = guest_with_metadata(w)
        bodies = [world.body(*events[name]) for name in order]
        for group in [bodies] if together else [[body] for body in bodies]:
            recorder.take(*group)
            recorder.send_due()
        recorder.send_all()
        sale = recorder.payloads("sale")[-1]
        assert sale["invoiceId"] == w.pi
        assert (sale.get("clickId"), sale["customerExternalId"]) == (w.click, w.customer), order
    assert len(recorder.payloads("sale")) == len(ORDERS)
    assert recorder.conflicts() == []


def test_a_sale_without_ids_waits_for_its_intent_and_no_longer(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    events = guest_with_metadata(w)
    recorder.take(world.body(*events["session"]))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["pending"]
    recorder.take(world.body("payment_intent.succeeded", w.intent(customer=None, receipt_email=None)))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"]


def test_a_sale_without_ids_goes_at_once_where_its_intent_said_nothing_before(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger), world.World(old=False)
    recorder.take(world.body("payment_intent.succeeded", w.intent(customer=None, receipt_email=None)))
    recorder.take(world.body(*guest_with_metadata(w)["session"]))
    recorder.send_due()
    assert [status for _, status in recorder.deliveries()] == ["delivered"]


def test_what_two_strangers_intents_say_does_not_mix(ledger: Ledger) -> None:
    recorder, first, second = Recorder(ledger), world.World(old=False), world.World(old=False)
    both = [guest_with_metadata(w) for w in (first, second)]
    for name in ("intent", "session"):
        recorder.take(*[world.body(*events[name]) for events in both])
    said = [(sale["clickId"], sale["customerExternalId"]) for sale in recorder.payloads("sale")]
    assert said == [(first.click, first.customer), (second.click, second.customer)]


def test_ids_of_a_payment_reach_the_invoice_that_a_link_ties_to_it(ledger: Ledger) -> None:
    """The intent says who, the link says which invoice, and the invoice alone counts; in any order."""
    for number, order in enumerate(itertools.permutations(("intent", "link", "invoice"))):
        recorder, w = Recorder(ledger, sale_events=frozenset({"invoice"})), world.World(old=False)
        guest = {"customer": None, "customer_email": f"guest{number}@example.com"}
        bodies = {
            "intent": world.body(*guest_with_metadata(w)["intent"]),
            "link": world.body("invoice_payment.paid", w.invoice_payment()),
            "invoice": world.body("invoice.paid", w.invoice(4900, "manual", **guest)),
        }
        for name in order:
            recorder.take(bodies[name])
            recorder.send_due()
        sale = recorder.payloads("sale")[-1]
        assert (sale.get("clickId"), sale["customerExternalId"]) == (w.click, w.customer), order


# --- parked events whose money is counted -------------------------------------------------------------------------------


def outcomes(ledger: Ledger) -> list[tuple[str, str, str | None]]:
    with ledger.read() as tx:
        return [tuple(row) for row in tx.run("SELECT event_type, outcome, reason FROM events ORDER BY id").all()]


def nobody(w: world.World) -> bytes:
    return world.body("payment_intent.succeeded", w.intent(customer=None, receipt_email=None))


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "in-one-group"])
def test_a_guests_opted_in_intent_is_settled_by_the_session_that_counts_it(ledger: Ledger, together: bool) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(old=False)
    session = world.body("checkout.session.completed", w.session(customer=None))
    if together:
        receipts = recorder.take(nobody(w), session)
    else:
        receipts = [*recorder.take(nobody(w)), *recorder.take(session)]
    assert [receipt.outcome for receipt in receipts] == ["parked", "sale"]
    (intent, counted) = outcomes(ledger)
    assert (intent[1], counted[1]) == ("duplicate", "sale")
    assert f"sale:stripe:{w.pi}" in (intent[2] or "")
    with ledger.read() as tx:
        assert len(set(tx.run("SELECT conversion_id FROM events").scalars())) == 1


@pytest.mark.parametrize("link_first", [False, True])
def test_a_parked_intent_is_settled_by_the_invoice_that_a_link_ties_to_it(ledger: Ledger, link_first: bool) -> None:
    recorder, w = Recorder(ledger, sale_events=frozenset({"invoice", "payment_intent"})), world.World(old=False)
    link = world.body("invoice_payment.paid", w.invoice_payment())
    invoice = world.body("invoice.paid", w.invoice(4900, "manual"))
    recorder.take(nobody(w))
    for body in (link, invoice) if link_first else (invoice, link):
        recorder.take(body)
    assert [outcome for event_type, outcome, _ in outcomes(ledger) if event_type.startswith("payment_intent")] == [
        "duplicate"
    ]
    assert recorder.open_or_sent() == [f"sale:stripe:{w.invoice_id}"]


def test_a_parked_intent_of_another_purchase_stays_parked(ledger: Ledger) -> None:
    recorder, w = Recorder(ledger, sale_events=OPTED_IN), world.World(old=False)
    recorder.take(nobody(world.World(old=False)))
    recorder.take(nobody(w), world.body("checkout.session.completed", w.session(customer=None)))
    assert [outcome for _, outcome, _ in outcomes(ledger)] == ["parked", "duplicate", "sale"]
