"""Deliveries that are held for want of their person, for a process that can look that person up elsewhere.

`held` is 1 while nobody looked and 2 once somebody did: the change from one to the other is the right to look, so that of any
number of workers one does, once. What was found is recorded as an event of its own, by the same way as all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class Unidentified:
    """A held delivery whose person has neither click id nor customer id. `body` is that of the event that made it."""

    delivery_id: int
    body: bytes


def has_unidentified(tx: Tx, source: str) -> bool:
    """Whether `claim_unidentified` would find something; cheap, and writes nothing."""
    return (
        tx.run(
            f"SELECT 1 FROM deliveries d JOIN persons p ON p.id = d.person_id WHERE {_NAMELESS} LIMIT 1",
            source,
            tx.now(),
        ).first()
        is not None
    )


def claim_unidentified(tx: Tx, source: str, limit: int) -> list[Unidentified]:
    """Up to `limit` of them, those that wait least first; each is given to one caller alone."""
    skipping = "" if tx.is_sqlite else " FOR UPDATE OF d SKIP LOCKED"
    ids = (
        tx.run(
            f"UPDATE deliveries SET held = 2 WHERE id IN (SELECT d.id FROM deliveries d JOIN persons p ON p.id = d.person_id"
            f" WHERE {_NAMELESS} ORDER BY d.due_at, d.id LIMIT ?{skipping}) RETURNING id",
            source,
            tx.now(),
            limit,
        )
        .scalars()
        .all()
    )
    if not ids:
        return []
    condition, value = tx.among("d.id", sorted(ids))
    rows = tx.run(
        "SELECT d.id, e.body FROM deliveries d JOIN conversions c ON c.id = d.conversion_id"
        f" JOIN events e ON e.id = c.event_id WHERE {condition} ORDER BY d.due_at, d.id",
        value,
    )
    return [Unidentified(identity, bytes(body)) for identity, body in rows.all()]


def unclaim_unidentified(tx: Tx, delivery_ids: Sequence[int]) -> None:
    """Nobody could be asked: those that are still held may be claimed again. Idempotent."""
    statement = "UPDATE deliveries SET held = 1 WHERE id = ? AND held = 2"
    tx.run_many(statement, [(identity,) for identity in delivery_ids])


# "held = 1" stands here as text, so that both databases use the partial index on it.
_NAMELESS = (
    "d.held = 1 AND d.source = ? AND d.due_at > ? AND d.attempts = 0 AND d.claim IS NULL"
    " AND p.click_first IS NULL AND p.explicit_id IS NULL"
)
