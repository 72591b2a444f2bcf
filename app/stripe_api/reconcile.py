"""Stripe's paid purchases beside our Sales: which of them did not reach the destination, and why."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from app.ledger.actions.replay import REFUNDED
from app.ledger.engine import Ledger
from app.ledger.reading.by_key import ConversionState, standings, unclaimed_events
from app.model import Rules
from app.sources.base import Source
from app.sources.stripe.fields import id_of, object_of
from app.stripe_api.books import Books, Paid
from app.stripe_api.client import KEPT_SECONDS, StripeApi

BATCH = 100
PAID_EVENTS = (
    "invoice.paid",
    "invoice.payment_succeeded",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "payment_intent.succeeded",
    "charge.succeeded",
    "charge.captured",
)
NEVER_RECEIVED = (
    "Stripe's event about it never came: `bridge backfill stripe --since 30d` fetches those of the last 30 days"
)
NEVER_TO_COME = "Stripe's event about it never came, and Stripe keeps events for 30 days: it can no longer be fetched"


@dataclass(frozen=True, slots=True)
class Missing:
    """A purchase with no delivered Sale. `state`: never_received, ignored, parked, unpaid (recorded as promised money),
    elsewhere (sent to another destination alone), or the status of its delivery."""

    paid: Paid
    state: str
    reason: str
    dedupe_key: str | None = None
    delivery_id: int | None = None
    conversion_id: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
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
    """What Stripe lists as paid (by kind), how much of it is delivered, what is missing, and what was not compared."""

    paid: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    unattributed: int = 0
    """Delivered as far as that goes: no destination knows a click or customer for them."""
    refunded: int = 0
    """Refunded in full before they were sent, so that they are not."""
    sales: list[int] = field(default_factory=list)
    """The conversions of those that are counted here."""
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "paid": self.paid.total(),
            "invoices": self.paid["invoice"],
            "sessions": self.paid["session"],
            "payment_intents": self.paid["intent"],
            "charges": self.paid["charge"],
            "delivered": self.delivered,
            "unattributed": self.unattributed,
            "refunded": self.refunded,
            "missing": [missing.as_json() for missing in self.missing],
            "by_state": dict(Counter(missing.state for missing in self.missing)),
            "notes": self.notes,
        }


class Reconciliation:
    """Compares an account of Stripe's with the ledger. Reads only, on both sides.

    destinations: the names that Sales go to now; one that only went elsewhere (the sandbox, before) is missing. account: a
    connected account (Connect).
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
        """What Stripe lists since that time (seconds). Raises StripeApiError and LedgerUnavailable."""
        comparison, books = Comparison(), Books(self._api, self._rules, since, self._account)
        unsold: list[Paid] = []
        judged: set[int] = set()
        purchases = books.paid()
        while batch := list(islice(purchases, BATCH)):
            keys = [self._scope + key for paid in batch for key in paid.keys]
            with self._ledger.read() as tx:
                by_key = standings(tx, keys)
            for paid in batch:
                known = [by_key[self._scope + key] for key in paid.keys if self._scope + key in by_key]
                state = min(known, key=lambda standing: _STATES.index(standing.state), default=None)
                if state is None or state.state == "linked":
                    if not books.belongs_to_listed(paid):
                        comparison.paid[paid.kind] += 1
                        unsold.append(paid)
                    continue
                if state.conversion_id in judged:  # a part of what was listed before
                    continue
                judged.add(state.conversion_id)
                comparison.paid[paid.kind] += 1
                if state.state == "counted":
                    comparison.sales.append(state.conversion_id)
                verdict = _judge(paid, state, self._destinations)
                if isinstance(verdict, Missing):
                    comparison.missing.append(verdict)
                else:
                    setattr(comparison, verdict, getattr(comparison, verdict) + 1)
        comparison.notes = books.notes()
        comparison.missing += self._explain(unsold, since)
        comparison.missing.sort(key=lambda missing: missing.paid.paid_at)
        return comparison

    def _explain(self, unsold: Sequence[Paid], since: int) -> Iterator[Missing]:
        """Why these made no Sale: their event was ignored or parked, or never came."""
        reasons: dict[str, tuple[str, str]] = {}
        unsold_ids = {paid.id for paid in unsold}
        for outcome in ("ignored", "parked") if unsold_ids else ():
            for event in unclaimed_events(self._ledger, self._source.name, PAID_EVENTS, outcome, since * 1000):
                identity = _object_in(event.body)
                if identity in unsold_ids:
                    reasons[identity] = (outcome, f"{event.event_id} was {outcome}: {event.reason}")
        kept_since = time.time() - KEPT_SECONDS
        for paid in unsold:
            never = NEVER_RECEIVED if paid.paid_at.timestamp() >= kept_since else NEVER_TO_COME
            yield Missing(paid, *reasons.get(paid.id, ("never_received", never)))


_STATES = ("counted", "pending", "released", "linked")
"""Of the conversions that own one of a purchase's keys the one that says most speaks for it."""


def _judge(
    paid: Paid, state: ConversionState, destinations: Sequence[str]
) -> Missing | Literal["delivered", "unattributed", "refunded"]:
    """What is missing of the Sale, or as what it is settled."""
    key = state.dedupe_key
    if state.state == "pending":
        return Missing(
            paid, "unpaid", "recorded as money promised: the event that says it was paid never came", dedupe_key=key
        )
    if state.state == "released":
        return Missing(
            paid, "unpaid", "recorded as never paid: the event that says it was paid never came", dedupe_key=key
        )
    deliveries = [delivery for delivery in state.deliveries if delivery[2] in destinations]
    if any(status == "delivered" for _, status, _, _ in deliveries):
        return "delivered"
    if deliveries and all(status == "discarded" and error == REFUNDED for _, status, _, error in deliveries):
        return "refunded"
    if any(status == "unattributed" for _, status, _, _ in deliveries):
        return "unattributed"
    if not deliveries:
        elsewhere = ", ".join(sorted({name for _, _, name, _ in state.deliveries}))
        reason = f"it went to {elsewhere} alone" if elsewhere else "it was counted and has no delivery"
        return Missing(paid, "elsewhere", reason, dedupe_key=key, conversion_id=state.conversion_id)
    delivery_id, status, name, error = deliveries[0]
    return Missing(paid, status, error or _WORDS.get(status, f"not sent to {name} yet"), key, delivery_id)


_WORDS = {
    "retrying": "its last attempt failed; the next one follows by itself",
    "dead": "all attempts failed: `bridge replay --status dead` sends it again",
    "discarded": "someone discarded it",
    "shadow": "the destination was in shadow mode: replay it with --to once that is live",
}


def _object_in(body: bytes) -> str | None:
    """The id of the object an event is about; None if its body was erased."""
    try:
        event = object_of(json.loads(body))
    except ValueError:
        return None
    return id_of(object_of(event.get("data")).get("object"))
