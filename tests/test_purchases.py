"""Every purchase is exactly one Sale, whatever arrives, in whatever order and rendering, and however often."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from tests.support import stripe_world as world
from tests.support.stripe_recorder import Recorder

EXAMPLES = int(os.environ.get("BRIDGE_EXAMPLES", "50"))
"""The nightly run sets 1000."""

GUESTS = (world.one_off, world.one_off_with_invoice, world.delayed_paid, world.manual_capture, world.partial_capture)

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """One ledger for all examples: each has ids of its own."""
    path = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp())) / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    upgrade(ledger)
    return ledger


@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("kind", world.KINDS, ids=lambda k: k.__name__)
def test_a_purchase_is_counted_once_in_any_order_rendering_and_repetition(
    shared: Ledger, kind: Callable[..., world.Purchase], data: st.DataObject
) -> None:
    is_old = data.draw(st.booleans(), label="old rendering")
    purchase = kind(is_old)
    events = list(purchase.events)
    if data.draw(st.booleans(), label="both renderings"):
        events += kind(not is_old, purchase.number).events
    opted_in = data.draw(st.sampled_from([(), ("payment_intent",), ("payment_intent", "charge")]), label="opted in")
    recorder = Recorder(shared, sale_events=frozenset({"checkout", "invoice", *opted_in}))
    start = recorder.newest()
    if purchase.before:
        before = data.draw(st.permutations(purchase.before), label="before")
        _take_in_groups(recorder, [world.body(t, o) for t, o in before], data)
        recorder.send_all()
    order = data.draw(st.permutations(events), label="order")
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=6), label="under a new event id")
    if data.draw(st.booleans(), label="only the session names the mailbox"):
        order, repeated = [(t, _unnamed(o)) for t, o in order], [(t, _unnamed(o)) for t, o in repeated]
    if kind in GUESTS and data.draw(st.booleans(), label="a guest, no customer at Stripe"):
        order, repeated = (
            [(t, o | {"customer": None}) for t, o in order],
            [(t, o | {"customer": None}) for t, o in repeated],
        )
    stream = [
        (t, world.body(t, data.draw(st.sampled_from([o, _expanded(o), _oldest(o)])), n))
        for n, (t, o) in enumerate([*order, *repeated])
    ]
    stream += data.draw(st.lists(st.sampled_from(stream), max_size=3), label="again")
    lapse = data.draw(st.none() | st.integers(0, len(stream)), label="the hold ran out after")
    if lapse is None and data.draw(st.booleans(), label="no intent names its invoice"):  # basil: other events link them
        stream = [(t, _unlinked(body)) for t, body in stream]
    is_named = lapse is None or bool(purchase.before) or any(t == purchase.names_who for t, _ in stream[:lapse])
    cut = len(stream) if lapse is None else lapse
    _take_in_groups(recorder, [body for _, body in stream[:cut]], data)
    if lapse is not None:
        recorder.send_all()
    _take_in_groups(recorder, [body for _, body in stream[cut:]], data)
    sales, leads = recorder.payloads("sale", after=start), recorder.payloads("lead", after=start)
    assert len(sales) == len(purchase.sales)
    assert len(leads) == purchase.leads
    for sale, (minor, currency, ids) in zip(sales, purchase.sales, strict=True):
        assert sale["amount"] == minor / 100
        assert sale["currency"] == currency
        assert sale["invoiceId"] in ids
    assert recorder.state_of(world.World(is_old, purchase.number).cs) in {None, "counted" if sales else "released"}
    for payload in [*sales, *leads] if is_named else []:
        assert payload["customerExternalId"] == purchase.customer
        assert payload["clickId"] == purchase.click


def _take_in_groups(recorder: Recorder, bodies: list[bytes], data: Any) -> None:
    size = data.draw(st.integers(1, 6), label="group size")
    for start in range(0, len(bodies), size):
        recorder.take(*bodies[start : start + size])


def _expanded(obj: dict[str, Any]) -> dict[str, Any]:
    """The same object with objects where ids stood, as an endpoint or a replay may have them."""
    names = ("customer", "invoice", "payment_intent", "subscription", "charge", "latest_charge")
    return obj | {name: {"id": obj[name], "object": name} for name in names if isinstance(obj.get(name), str)}


def _unnamed(obj: dict[str, Any]) -> dict[str, Any]:
    """The same object without the e-mail address, unless it is a session."""
    blanks = {"customer_email": None, "receipt_email": None, "billing_details": {"email": None}, "email": None}
    return obj if obj["object"] == "checkout.session" else obj | {n: v for n, v in blanks.items() if n in obj}


def _unlinked(body: bytes) -> bytes:
    """The same event, of an intent or charge that does not tell the invoice it belongs to."""
    event = json.loads(body)
    obj = event["data"]["object"]
    if obj["object"] in ("payment_intent", "charge"):
        event["data"]["object"] = {n: v for n, v in obj.items() if n not in ("invoice", "payment_details")}
    return json.dumps(event).encode()


def _oldest(obj: dict[str, Any]) -> dict[str, Any]:
    """A session of a subscription as API 2020-08 has it: it does not name the invoice."""
    if obj["object"] == "checkout.session" and obj["subscription"]:
        return {name: value for name, value in obj.items() if name != "invoice"}
    return obj


def test_a_renewal_carries_the_first_click_and_the_customer_id(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    bought = world.subscription(old=False)
    recorder.take(*[world.body(t, o) for t, o in bought.events])
    recorder.send_all()
    session = next(o for t, o in bought.events if t == "checkout.session.completed")
    renewed = {
        **next(o for t, o in bought.events if t == "invoice.paid"),
        "id": "in_next",
        "billing_reason": "subscription_cycle",
    }
    renewed["customer_email"] = None
    (receipt,) = recorder.take(world.body("invoice.paid", renewed))
    assert receipt.outcome == "sale"
    sale = recorder.payloads("sale")[-1]
    assert sale["invoiceId"] == "in_next"
    assert sale["clickId"] == session["client_reference_id"]
    assert sale["customerExternalId"] == bought.customer


def test_the_first_invoice_is_held_and_the_session_releases_it(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    bought = world.subscription(old=False)
    by_type = dict(bought.events)
    recorder.take(world.body("invoice.paid", by_type["invoice.paid"]))
    (due, held, created) = _delivery(ledger)
    assert held
    assert 19_000 <= due - created <= 21_000
    assert "clickId" not in recorder.payloads("sale")[0]
    recorder.take(world.body("checkout.session.completed", by_type["checkout.session.completed"]))
    (due, held, created) = _delivery(ledger)
    assert not held
    assert due - created < 5_000
    assert recorder.payloads("sale")[0]["clickId"] == bought.click


def test_what_was_attempted_keeps_its_bytes_and_its_id_and_a_later_one_is_a_conflict(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    bought = world.subscription(old=False)
    by_type = dict(bought.events)
    recorder.take(world.body("invoice.paid", by_type["invoice.paid"]))
    first = recorder.payloads("sale")
    recorder.send_all()
    recorder.take(world.body("checkout.session.completed", by_type["checkout.session.completed"]))
    assert recorder.payloads("sale") == first
    with ledger.read() as tx:
        assert "arrived after" in tx.run("SELECT reason FROM conflicts").scalar_one()
    renewed = {**by_type["invoice.paid"], "id": "in_next", "billing_reason": "subscription_cycle"}
    recorder.take(world.body("invoice.paid", renewed))
    assert recorder.payloads("sale")[-1]["customerExternalId"] == first[0]["customerExternalId"]
    assert recorder.payloads("sale")[-1]["clickId"] == bought.click


@pytest.mark.parametrize("session_first", [True, False])
def test_an_opted_in_intent_is_claimed_by_the_session_of_its_purchase(ledger: Ledger, session_first: bool) -> None:
    recorder = Recorder(ledger, sale_events=frozenset({"checkout", "invoice", "payment_intent"}))
    bought = world.one_off(old=False)
    by_type = dict(bought.events)
    order = ["checkout.session.completed", "payment_intent.succeeded"]
    for event_type in order if session_first else order[::-1]:
        recorder.take(world.body(event_type, by_type[event_type]))
    (sale,) = recorder.payloads("sale")
    assert sale["clickId"] == bought.click
    assert sale["customerExternalId"] == bought.customer
    assert _delivery(ledger)[1] == 0


def test_two_sent_sales_that_turn_out_to_be_one_purchase_are_shown_as_a_conflict(ledger: Ledger) -> None:
    recorder = Recorder(ledger, sale_events=frozenset({"invoice", "payment_intent"}))
    w = world.World(old=False)
    recorder.take(world.body("payment_intent.succeeded", w.intent()))
    recorder.take(world.body("invoice.paid", w.invoice(4900, "manual")))
    recorder.send_all()
    recorder.take(world.body("invoice_payment.paid", w.invoice_payment()))
    with ledger.read() as tx:
        kind, reason = tx.run("SELECT kind, reason FROM conflicts").one()
    assert kind == "counted_twice"
    assert w.pi in reason
    assert w.invoice_id in reason


def _delivery(ledger: Ledger) -> tuple[int, int, int]:
    with ledger.read() as tx:
        return tuple(tx.run("SELECT due_at, held, created_at FROM deliveries").one())
