"""Which of the wanted events have never come, by what the ledger holds: the check that needs no key to Stripe."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.ledger.reading.where import OF_SOURCE
from app.ledger.transaction import Tx

LOOKED_AT = 5000
"""Stripe's newest events that are looked at, so that the page is as fast in a large ledger."""
FEWEST = 3
"""So many events that never come alone say that the one beside them is missing; fewer may still be on their way."""

COMES_WITH = {
    "checkout.session.completed": ("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed"),
    "invoice.paid": ("invoice_payment.paid", "customer.subscription.created"),
    "charge.refunded": ("refund.created",),
    "refund.created": ("charge.refunded",),
    "charge.dispute.created": ("charge.dispute.closed",),
}
"""A wanted event, and events of which none comes without it. A subscription's first invoice is paid even where it costs nothing."""
TWINS = {"invoice.paid": "invoice.payment_succeeded"}
"""Events that say the same."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Of the wanted events: those that have come, those that must have come, and the others, which may simply be rare."""

    seen: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    """(the missing event, the event that shows it)."""
    unseen: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing has come yet, so that nothing can be said."""
        return not self.seen


def arrived(tx: Tx, events: Iterable[str]) -> Arrived:
    """What came of `events` among Stripe's newest events."""
    newest = f"SELECT event_type FROM events WHERE {OF_SOURCE} ORDER BY id DESC LIMIT ?"  # noqa: S608 - of constants
    statement = f"SELECT event_type, COUNT(*) FROM ({newest}) n GROUP BY event_type"  # noqa: S608
    rows = tx.run(statement, "stripe", "stripe", LOOKED_AT)
    counts: dict[str, int] = dict(list(rows.all()))
    seen, missing, unseen = [], [], []
    for event in events:
        if event in counts or TWINS.get(event) in counts:
            seen.append(event)
            continue
        shown_by = next((related for related in COMES_WITH.get(event, ()) if counts.get(related, 0) >= FEWEST), None)
        if shown_by:
            missing.append((event, shown_by))
        else:
            unseen.append(event)
    return Arrived(tuple(seen), tuple(missing), tuple(unseen))


def why_missing(event: str, shown_by: str) -> str:
    """One sentence on a wanted event that must have come, with its remedy."""
    return (
        f"{shown_by} comes and {event} never does, so the webhook endpoint at Stripe is not subscribed to it: add it there, or run"
        " `bridge stripe-endpoint sync`"
    )
