"""What Stripe's own lists say was paid, of everything that counts as a Sale; and what they were not asked for.

https://docs.stripe.com/api/invoices/list, https://docs.stripe.com/api/checkout/sessions/list,
https://docs.stripe.com/api/payment_intents/list, https://docs.stripe.com/api/charges/list
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from app.model import Rules
from app.money import Money, currency_code
from app.sources.stripe import checkout, invoices, payments
from app.sources.stripe.fields import JsonObject, id_of, integer_of, moment_of, object_of, objects_of
from app.sources.stripe.purchases import paid_of, session_money
from app.stripe_api.client import StripeApi, StripeNotFound, StripeRefused

LATE_SECONDS = 45 * 86400
"""Stripe lists invoices by when they were made; one that is paid after `since` may have been made so much earlier."""
EVENTS_OF = {"invoice": "invoice", "session": "checkout", "intent": "payment_intent", "charge": "charge"}
"""What STRIPE_SALE_EVENTS calls each kind of purchase."""


@dataclass(frozen=True, slots=True)
class Paid:
    """A purchase that Stripe says is paid. `keys`: all ids of it that Stripe's list names. `kind`: one of EVENTS_OF."""

    kind: str
    id: str
    keys: tuple[str, ...]
    amount: str
    paid_at: datetime


class Books:
    """The lists of one account since a time (seconds). For one walk."""

    def __init__(self, api: StripeApi, rules: Rules, since: int, account: str | None) -> None:
        self._api = api
        self._rules = rules
        self._since = since
        self._account = account
        self._listed: set[str] = set()
        self._tests = 0
        self._notes: list[str] = []

    def paid(self) -> Iterator[Paid]:
        """Each purchase once: invoices first, then sessions without one, then payments that belong to neither. Only invoices say
        when they were paid; of the others those made since are meant. Raises StripeApiError."""
        if self._wants("invoice"):
            created = {"gte": max(0, self._since - LATE_SECONDS)}
            yield from self._each("/v1/invoices", _read_invoice, status="paid", created=created)
        if self._wants("session"):
            yield from self._each("/v1/checkout/sessions", _read_session, status="complete", created=self._lately)
        yield from self._payments("/v1/payment_intents", "payment intents", self._read_intent)
        if "payment_intent" not in self._rules.sale_events:
            self._leave_out("payment intents other than manual captures", "payment_intent")
        if self._wants("charge"):
            yield from self._payments("/v1/charges", "charges", _read_charge)

    def notes(self) -> list[str]:
        """What was not compared, and what else there is to say once all was read."""
        notes = list(self._notes)
        if self._tests and not self._rules.accepts_test_events("stripe"):
            notes.append(
                f"{self._tests} of them are test purchases, which this bridge ignores: use a live key, or set"
                " STRIPE_ALLOW_TEST_EVENTS=1"
            )
        return notes

    def belongs_to_listed(self, paid: Paid) -> bool:
        """Whether a payment that the ledger does not know is that of a session or invoice that was listed: since basil the payment
        itself does not say so."""
        if paid.kind != "intent":
            return False
        session = self._ask("/v1/checkout/sessions", payment_intent=paid.id)
        owners = [id_of(entry) for entry in session if id_of(entry.get("payment_intent")) == paid.id]
        links = self._ask("/v1/invoice_payments", payment={"type": "payment_intent", "payment_intent": paid.id})
        owners += [
            id_of(entry.get("invoice"))
            for entry in links
            if id_of(object_of(entry.get("payment")).get("payment_intent")) == paid.id
        ]
        return any(owner in self._listed for owner in owners)

    @property
    def _lately(self) -> dict[str, int]:
        return {"gte": self._since}

    def _wants(self, kind: str) -> bool:
        if EVENTS_OF[kind] in self._rules.sale_events:
            return True
        self._leave_out(f"{kind}s", EVENTS_OF[kind])
        return False

    def _leave_out(self, objects: str, setting: str) -> None:
        self._notes.append(f"{objects} were not compared: STRIPE_SALE_EVENTS does not hold {setting}")

    def _payments(self, path: str, objects: str, read: Callable[[JsonObject], Paid | None]) -> Iterator[Paid]:
        try:
            yield from self._each(path, read, created=self._lately)
        except (StripeRefused, StripeNotFound) as error:
            self._notes.append(f"{objects} were not compared: {error}")

    def _each(self, path: str, read: Callable[[JsonObject], Paid | None], **params: object) -> Iterator[Paid]:
        for thing in self._api.each(path, self._account, **params):
            paid = read(thing)
            if paid is None or paid.paid_at.timestamp() < self._since or not self._listed.isdisjoint(paid.keys):
                continue
            self._listed.update(paid.keys)
            self._tests += thing.get("livemode") is False
            yield paid

    def _ask(self, path: str, **params: object) -> list[JsonObject]:
        """One page of a list; nothing where this key may not read it."""
        try:
            return objects_of(self._api.get(path, self._account, limit=10, **params))
        except (StripeRefused, StripeNotFound):
            return []

    def _read_intent(self, intent: JsonObject) -> Paid | None:
        """One that counts by itself: of all that succeeded and belong to no invoice those that were captured by hand, or all."""
        is_wanted = "payment_intent" in self._rules.sale_events or payments.is_captured_by_hand(intent)
        if intent.get("status") != "succeeded" or not is_wanted:
            return None
        if "invoice" in self._rules.sale_events and (intent.get("invoice") or payments.find_prefixes(intent)):
            return None
        keys = tuple(key for key in (id_of(intent), payments.charge_of(intent)) if key)
        return _read("intent", intent, intent.get("amount_received"), keys, None)


def _read_invoice(invoice: JsonObject) -> Paid | None:
    if invoice.get("status") != "paid":
        return None
    paid_at = moment_of(object_of(invoice.get("status_transitions")).get("paid_at"))
    return _read("invoice", invoice, paid_of(invoice), invoices.find_keys(invoice), paid_at)


def _read_session(session: JsonObject) -> Paid | None:
    if session.get("payment_status") != "paid":
        return None
    amount, currency, _ = session_money(session)
    return _read("session", {**session, "currency": currency}, amount, checkout.find_keys(session), None)


def _read_charge(charge: JsonObject) -> Paid | None:
    """A charge without a payment intent, as the oldest integrations make them."""
    if charge.get("status") not in ("succeeded", "paid") or charge.get("captured") is not True:
        return None
    identity = id_of(charge)
    if identity is None or charge.get("payment_intent") or charge.get("invoice"):
        return None
    captured = charge.get("amount_captured")
    return _read("charge", charge, charge.get("amount") if captured is None else captured, (identity,), None)


def _read(kind: str, thing: JsonObject, amount: object, keys: tuple[str, ...], paid_at: datetime | None) -> Paid | None:
    """None if no money was collected."""
    identity, minor = id_of(thing), integer_of(amount)
    moment = paid_at or moment_of(thing.get("created"))
    if identity is None or moment is None or minor is None or minor <= 0:
        return None
    code = currency_code(thing.get("currency"))
    shown = Money(minor, code).text if code else f"{minor} in an unknown currency"
    return Paid(kind, identity, keys, shown, moment)
