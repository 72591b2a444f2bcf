"""Purchases as Stripe tells them: all events of one, in the old and the new rendering, for tests to shuffle and repeat.

Bodies are made here, after https://docs.stripe.com/api/events/types; nothing is copied from recorded ones.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

CREATED = 1_780_000_000
_numbers = itertools.count(1)


@dataclass
class Purchase:
    """What one purchase should come to, and the events that speak of it."""

    kind: str
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sales: list[tuple[int, str, set[str]]] = field(default_factory=list)
    """(amount in minor units, currency, ids any of which may be the invoiceId) for each Sale there must be."""
    leads: int = 0
    customer: str = ""
    click: str = ""
    email: str = ""
    names_who: str | None = None
    """The type of the event that alone carries click id and customer id."""
    number: int = 0
    """Of its World: the same kind with the same number is the same purchase in another rendering."""
    before: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The events of what the person bought earlier, which name them: recorded and sent before `events` begin."""


def body(event_type: str, obj: dict[str, Any], number: int = 0, **envelope: Any) -> bytes:
    """The event as it is posted, under a fresh event id."""
    return json.dumps(
        {
            "id": f"evt_{next(_numbers)}",
            "object": "event",
            "api_version": "2025-11-17.clover",
            "created": CREATED + number,
            "livemode": True,
            "type": event_type,
            "data": {"object": obj},
            **envelope,
        }
    ).encode()


class World:
    """The ids of one purchase: fresh ones, or those of `number`."""

    def __init__(self, old: bool, number: int | None = None) -> None:
        number = number or next(_numbers)
        self.old, self.number = old, number
        self.tail = hashlib.sha256(str(number).encode()).hexdigest()[:24]  # ids that share no beginning
        self.cus, self.sub = f"cus_{self.tail}", f"sub_{self.tail}"
        self.cs, self.pi, self.ch = f"cs_live_{self.tail}", f"pi_{self.tail}", f"ch_{self.tail}"
        self.invoice_id = f"in_{self.tail}"
        self.email = f"p{number}@example.com"
        self.customer, self.click = f"user_{number}", f"clk_{number}"

    def session(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.cs,
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "paid",
            "amount_total": 4900,
            "currency": "usd",
            "created": CREATED - 600,
            "customer": self.cus,
            "customer_details": {"email": self.email, "name": "Pat Example", "phone": None},
            "client_reference_id": self.click,
            "metadata": {"user_id": self.customer},
            "payment_intent": self.pi,
            "invoice": None,
            "subscription": None,
            "livemode": True,
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            **fields,
        }

    def intent(self, amount: int = 4900, invoice: str | None = None, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": self.pi,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": amount,
            "capture_method": "automatic",
            "currency": "usd",
            "customer": self.cus,
            "latest_charge": self.ch,
            "metadata": {},
            "receipt_email": self.email,
            "status": "succeeded",
            **fields,
        }
        if self.old:
            found["invoice"] = invoice
        elif invoice:
            found["payment_details"] = {"order_reference": invoice[:25]}
        return found

    def charge(self, amount: int = 4900, invoice: str | None = None, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": self.ch,
            "object": "charge",
            "amount": amount,
            "amount_captured": amount,
            "captured": True,
            "paid": True,
            "status": "succeeded",
            "currency": "usd",
            "customer": self.cus,
            "payment_intent": self.pi,
            "billing_details": {"email": self.email, "name": None},
            "metadata": {},
            **fields,
        }
        if self.old:
            found["invoice"] = invoice
        return found

    def invoice(self, amount: int, reason: str, identity: str | None = None, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": identity or self.invoice_id,
            "object": "invoice",
            "amount_due": amount,
            "amount_paid": amount,
            "total": amount,
            "billing_reason": reason,
            "currency": "usd",
            "customer": self.cus,
            "customer_email": self.email,
            "customer_name": "Pat Example",
            "customer_phone": None,
            "metadata": {},
            "status": "paid",
            "status_transitions": {"paid_at": CREATED},
            "lines": {"object": "list", "data": []},
            **fields,
        }
        subscription = None if reason == "manual" else self.sub
        if self.old:
            found |= {"paid": True, "subscription": subscription, "payment_intent": self.pi if amount else None}
            found["charge"] = self.ch if amount else None
        elif subscription:
            details = {"subscription": subscription, "metadata": {}}
            found["parent"] = {"type": "subscription_details", "subscription_details": details}
        return found

    def invoice_payment(self, identity: str | None = None) -> dict[str, Any]:
        return {
            "id": f"inpay_{self.tail}",
            "object": "invoice_payment",
            "invoice": identity or self.invoice_id,
            "amount_paid": 4900,
            "currency": "usd",
            "status": "paid",
            "payment": {"type": "payment_intent", "payment_intent": self.pi},
        }

    def subscription(self, status: str) -> dict[str, Any]:
        return {"id": self.sub, "object": "subscription", "customer": self.cus, "status": status, "metadata": {}}

    def purchase(self, kind: str, **fields: Any) -> Purchase:
        return Purchase(kind, customer=self.customer, click=self.click, email=self.email, number=self.number, **fields)

    def later(self) -> "World":
        """The next purchase of the same person within the same subscription: ids of its own for what is paid."""
        world = World(self.old, self.number)
        world.tail = self.tail[::-1]
        world.pi, world.ch, world.invoice_id = f"pi_{world.tail}", f"ch_{world.tail}", f"in_{world.tail}"
        return world

    def paid_by_invoice(
        self, amount: int, reason: str, identity: str | None = None
    ) -> list[tuple[str, dict[str, Any]]]:
        """The events that every paid invoice brings besides a session."""
        found = [
            ("invoice.paid", self.invoice(amount, reason, identity)),
            ("invoice.payment_succeeded", self.invoice(amount, reason, identity)),
            ("invoice.finalized", self.invoice(amount, reason, identity)),
            ("payment_intent.succeeded", self.intent(amount, identity or self.invoice_id)),
            ("charge.succeeded", self.charge(amount, identity or self.invoice_id)),
        ]
        if not self.old:
            found.append(("invoice_payment.paid", self.invoice_payment(identity)))
        return found


def one_off(old: bool, number: int | None = None) -> Purchase:
    w = World(old, number)
    events = [
        ("payment_intent.created", w.intent(0)),
        ("payment_intent.succeeded", w.intent()),
        ("charge.succeeded", w.charge()),
        ("checkout.session.completed", w.session()),
    ]
    return w.purchase("one-off", events=events, sales=[(4900, "USD", {w.pi})], names_who="checkout.session.completed")


def one_off_with_invoice(old: bool, number: int | None = None) -> Purchase:
    w = World(old, number)
    session = ("checkout.session.completed", w.session(invoice=w.invoice_id))
    events = [session, *w.paid_by_invoice(4900, "manual")]
    return w.purchase(
        "one-off with invoice",
        events=events,
        sales=[(4900, "USD", {w.invoice_id})],
        names_who="checkout.session.completed",
    )


def subscription(old: bool, number: int | None = None) -> Purchase:
    w = World(old, number)
    completed = w.session(mode="subscription", payment_intent=None, invoice=w.invoice_id, subscription=w.sub)
    events = [
        ("customer.created", {"id": w.cus, "object": "customer", "email": w.email, "name": None, "metadata": {}}),
        ("customer.subscription.created", w.subscription("incomplete")),
        *w.paid_by_invoice(4900, "subscription_create"),
        ("checkout.session.completed", completed),
    ]
    return w.purchase(
        "subscription", events=events, sales=[(4900, "USD", {w.invoice_id})], names_who="checkout.session.completed"
    )


def trial(old: bool, number: int | None = None) -> Purchase:
    w = World(old, number)
    started = w.session(
        mode="subscription",
        payment_status="no_payment_required",
        amount_total=0,
        payment_intent=None,
        invoice=w.invoice_id,
        subscription=w.sub,
    )
    events = [
        ("customer.subscription.created", w.subscription("trialing")),
        ("invoice.paid", w.invoice(0, "subscription_create")),
        ("checkout.session.completed", started),
    ]
    return w.purchase("trial", events=events, leads=1, names_who="checkout.session.completed")


def trial_to_paid(old: bool, number: int | None = None) -> Purchase:
    """A trial, and the invoice of its first cycle, which is the Sale."""
    found = trial(old, number)
    session = next(o for t, o in found.events if t == "checkout.session.completed")
    zero = next(o for t, o in found.events if t == "invoice.paid")
    first = {**zero, "id": f"{zero['id']}b", "billing_reason": "subscription_cycle"}
    first |= {"amount_due": 4900, "amount_paid": 4900, "total": 4900}
    found.kind = "trial to paid"
    found.events += [("customer.subscription.updated", {"id": session["subscription"], "object": "subscription"})]
    found.events += [("invoice.paid", first), ("invoice.payment_succeeded", first)]
    found.sales = [(4900, "USD", {first["id"]})]
    return found


def delayed_paid(old: bool, number: int | None = None) -> Purchase:
    w = World(old, number)
    events = [
        ("checkout.session.completed", w.session(payment_status="unpaid")),
        ("payment_intent.succeeded", w.intent()),
        ("charge.succeeded", w.charge()),
        ("checkout.session.async_payment_succeeded", w.session()),
    ]
    return w.purchase(
        "delayed, paid", events=events, sales=[(4900, "USD", {w.pi})], names_who="checkout.session.completed"
    )


def delayed_failed(old: bool, number: int | None = None) -> Purchase:
    w = World(old, number)
    events = [
        ("checkout.session.completed", w.session(payment_status="unpaid")),
        ("payment_intent.payment_failed", w.intent(0, amount_received=0, status="requires_payment_method")),
        ("checkout.session.async_payment_failed", w.session(payment_status="unpaid")),
    ]
    return w.purchase("delayed, failed", events=events)


def guest_with_metadata_on_the_intent(old: bool, number: int | None = None) -> Purchase:
    """payment_intent_data.metadata stands on the intent and its charge, and on nothing else."""
    w = World(old, number)
    metadata = {"user_id": w.customer, "clickId": w.click}
    names: dict[str, Any] = {"metadata": metadata, "customer": None, "receipt_email": None}
    session = w.session(customer=None, client_reference_id=None, metadata={})
    events = [
        ("payment_intent.created", w.intent(0, **names, amount_received=0)),
        ("payment_intent.succeeded", w.intent(**names)),
        ("charge.succeeded", w.charge(customer=None, metadata=metadata)),
        ("checkout.session.completed", session),
    ]
    return w.purchase(
        "guest, metadata on the intent",
        events=events,
        sales=[(4900, "USD", {w.pi})],
        names_who="payment_intent.succeeded",
    )


def delayed_guest_with_metadata_on_the_intent(old: bool, number: int | None = None) -> Purchase:
    found = guest_with_metadata_on_the_intent(old, number)
    found.kind = "delayed guest, metadata on the intent"
    session = dict(found.events)["checkout.session.completed"]
    found.events[-1] = ("checkout.session.completed", {**session, "payment_status": "unpaid"})
    found.events.append(("checkout.session.async_payment_succeeded", session))
    return found


def invoice_after_session(old: bool, number: int | None = None) -> Purchase:
    """A session that names no invoice; an invoice that, since basil, names no payment; and the event that ties the two."""
    w = World(old, number)
    events = [("checkout.session.completed", w.session()), *w.paid_by_invoice(4900, "manual")]
    ids = {w.invoice_id, w.pi}
    return w.purchase(
        "invoice after session", events=events, sales=[(4900, "USD", ids)], names_who="checkout.session.completed"
    )


def manual_capture(old: bool, number: int | None = None, captured: int = 4900) -> Purchase:
    w = World(old, number)
    intent = w.intent(
        4900, amount_received=captured, capture_method="manual", metadata={"user_id": w.customer, "clickId": w.click}
    )
    events = [
        ("payment_intent.amount_capturable_updated", w.intent(4900, amount_received=0, capture_method="manual")),
        ("charge.captured", w.charge(4900, amount_captured=captured)),
        ("payment_intent.succeeded", intent),
    ]
    return w.purchase(
        "manual capture", events=events, sales=[(captured, "USD", {w.pi})], names_who="payment_intent.succeeded"
    )


def partial_capture(old: bool, number: int | None = None) -> Purchase:
    found = manual_capture(old, number, captured=1250)
    found.kind = "manual capture, partial"
    return found


def _within(old: bool, number: int | None, kind: str, reason: str, amount: int) -> Purchase:
    """An invoice of a subscription that was bought earlier: nothing of it names the person or the click."""
    first = subscription(old, number)
    w = World(old, first.number).later()
    return w.purchase(
        kind,
        before=first.events,
        events=w.paid_by_invoice(amount, reason),
        sales=[*first.sales, (amount, "USD", {w.invoice_id})],
        names_who="checkout.session.completed",
    )


def proration(old: bool, number: int | None = None) -> Purchase:
    return _within(old, number, "proration", "subscription_update", 700)


def renewal(old: bool, number: int | None = None) -> Purchase:
    return _within(old, number, "renewal", "subscription_cycle", 4900)


KINDS = (
    one_off,
    one_off_with_invoice,
    subscription,
    trial,
    trial_to_paid,
    delayed_paid,
    delayed_failed,
    guest_with_metadata_on_the_intent,
    delayed_guest_with_metadata_on_the_intent,
    manual_capture,
    partial_capture,
    proration,
    renewal,
)

TIED_LATE = (invoice_after_session,)
"""Those that are two Sales where the hold runs out before the event that ties them."""
