"""Stripe's paid purchases beside our Sales: which of them did not reach the destination, and why.

https://docs.stripe.com/api/invoices/list, https://docs.stripe.com/api/checkout/sessions/list,
https://docs.stripe.com/api/invoice-payment/list
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.errors import MalformedEvent
from app.ledger.engine import Ledger
from app.ledger.standing import Standing, standings, unclaimed_events
from app.model import Inbound, Rules
from app.money import Money, currency_code
from app.settings import SALE_EVENTS
from app.sources.base import Source
from app.sources.stripe import checkout, invoices
from app.sources.stripe.fields import id_of, integer_of, object_of, objects_of
from app.stripe.client import StripeApi, StripeNotFound

LATE_SECONDS = 45 * 86400
"""Stripe lists invoices by when they were made; one that is paid after `since` may have been made so much earlier."""
BATCH = 100
PAID_EVENTS = {
    "invoice": ("invoice.paid", "invoice.payment_succeeded"),
    "session": ("checkout.session.completed", "checkout.session.async_payment_succeeded"),
}


@dataclass(frozen=True, slots=True)
class Paid:
    """A purchase that Stripe says is paid. `keys`: all ids of it that are known, its own first."""

    kind: str
    id: str
    keys: tuple[str, ...]
    amount: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Missing:
    """A purchase with no delivered Sale. state: never_received, ignored, parked, unpaid (recorded as a promise), elsewhere (sent
    to another destination alone), or the status of its delivery."""

    paid: Paid
    state: str
    reason: str
    dedupe_key: str | None = None
    delivery_id: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.paid.id,
            "kind": self.paid.kind,
            "amount": self.paid.amount,
            "paid_at": self.paid.paid_at.isoformat().replace("+00:00", "Z"),
            "state": self.state,
            "reason": self.reason,
            "dedupe_key": self.dedupe_key,
            "delivery_id": self.delivery_id,
        }


@dataclass(slots=True)
class Comparison:
    """One comparison: what Stripe lists since a time (seconds), what of it is missing, and what was not compared."""

    paid: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "paid": self.paid.total(),
            "invoices": self.paid["invoice"],
            "sessions": self.paid["session"],
            "delivered": self.delivered,
            "missing": [missing.as_json() for missing in self.missing],
            "by_state": dict(Counter(missing.state for missing in self.missing)),
            "notes": self.notes,
        }


class Reconciliation:
    """Compares an account of Stripe's with the ledger. Reads only, on both sides.

    destinations: the names that Sales go to now; one that only went elsewhere (the sandbox, before) is missing.
    """

    def __init__(
        self,
        api: StripeApi,
        ledger: Ledger,
        source: Source,
        rules: Rules,
        destinations: Sequence[str],
        *,
        account: str | None = None,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._source = source
        self._rules = rules
        self._destinations = destinations
        self._account = account
        self._scope = f"sale:{source.name}:{account}:" if account else f"sale:{source.name}:"

    def compare(self, since: int) -> Comparison:
        """Raises StripeApiError and LedgerUnavailable."""
        comparison = Comparison()
        unsold: list[Paid] = []
        for batch in _batches(self._paid(since, comparison)):
            self._judge(batch, comparison, unsold)
        self._explain(unsold, since, comparison)
        comparison.missing.sort(key=lambda missing: missing.paid.paid_at)
        return comparison

    def _paid(self, since: int, comparison: Comparison) -> Iterator[Paid]:
        """Invoices first; a session whose invoice was listed is the same purchase."""
        listed: set[str] = set()
        tests = 0
        for kind, objects in (("invoice", self._invoices(since)), ("session", self._sessions(since))):
            wanted = "checkout" if kind == "session" else kind
            if wanted not in self._rules.sale_events:
                comparison.notes.append(f"{kind}s were not compared: STRIPE_SALE_EVENTS does not hold {wanted}")
                continue
            for thing in objects:
                found = _read_invoice(thing) if kind == "invoice" else _read_session(thing)
                if found is None or (kind == "invoice" and found.paid_at.timestamp() < since):
                    continue
                if kind == "session" and listed.intersection(found.keys):
                    continue
                listed.update(found.keys[:1])
                comparison.paid[kind] += 1
                tests += thing.get("livemode") is False
                yield found
        if tests and not self._rules.accept_test_events:
            comparison.notes.append(
                f"{tests} of them are test purchases (livemode is false), which this bridge ignores: use a live key, or set"
                " STRIPE_ALLOW_TEST_EVENTS=1"
            )

    def _invoices(self, since: int) -> Iterator[dict[str, Any]]:
        created = {"gte": max(0, since - LATE_SECONDS)}
        return self._api.each("/v1/invoices", self._account, status="paid", created=created)

    def _sessions(self, since: int) -> Iterator[dict[str, Any]]:
        return self._api.each("/v1/checkout/sessions", self._account, status="complete", created={"gte": since})

    def _judge(self, batch: Sequence[Paid], comparison: Comparison, unsold: list[Paid]) -> None:
        keys = [self._scope + key for paid in batch for key in paid.keys]
        with self._ledger.read() as connection:
            found = standings(self._ledger, connection, keys)
        for paid in batch:
            self._place(paid, self._standing(found, paid.keys), comparison, unsold)

    def _standing(self, found: dict[str, Standing], keys: Iterable[str]) -> Standing | None:
        """The one that says most: a counted conversion before a promise or a mere link."""
        all_found = [found[self._scope + key] for key in keys if self._scope + key in found]
        return (
            min(
                all_found,
                key=lambda s: ("counted", "pending").index(s.state) if s.state != "linked" else 2,
                default=None,
            )
            if all(s.state in ("counted", "pending", "linked") for s in all_found)
            else next(iter(sorted(all_found, key=lambda s: s.state != "counted")), None)
        )
