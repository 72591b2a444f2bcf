"""Looks things up by external keys: the keys of a purchase, the key of an event. Read only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.ledger.engine import Ledger
from app.ledger.transaction import Tx

PAGE = 200


@dataclass(frozen=True, slots=True)
class ConversionState:
    """The conversion that owns a key. state: as in the table conversions."""

    conversion_id: int
    state: str
    dedupe_key: str
    deliveries: list[tuple[int, str, str, str | None]] = field(default_factory=list)
    """(id, status, destination, last error) of each."""


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """An event that made no conversion."""

    event_id: str
    event_type: str
    outcome: str
    reason: str
    body: bytes


def standings(tx: Tx, keys: Sequence[str]) -> dict[str, ConversionState]:
    """The conversions that own these keys, by key."""
    condition, value = tx.among("k.key", keys)
    states: dict[str, ConversionState] = {}
    for key, *conversion, delivery_id, status, destination, error in tx.run(
        "SELECT k.key, c.id, c.state, c.dedupe_key, d.id, d.status, d.destination, d.last_error FROM dedupe_keys k"
        " JOIN conversions c ON c.id = k.conversion_id LEFT JOIN deliveries d ON d.conversion_id = c.id"
        f" WHERE {condition} ORDER BY d.id",
        value,
    ).all():
        state = states.setdefault(key, ConversionState(*conversion))
        if delivery_id is not None:
            state.deliveries.append((delivery_id, status, destination, error))
    return states


def was_attempted(tx: Tx, person_id: int) -> bool:
    """Whether an attempt was ever made for a person, even if retention removed it."""
    row = tx.run(
        "SELECT 1 FROM deliveries WHERE person_id = ? AND (attempts > 0 OR claim IS NOT NULL)"
        " UNION ALL SELECT 1 FROM persons WHERE id = ? AND sent = 1 LIMIT 1",
        person_id,
        person_id,
    ).first()
    return row is not None


def known_events(tx: Tx, event_keys: Sequence[str]) -> set[str]:
    """Which of `event_keys` (source:event ID) were received."""
    condition, value = tx.among("event_key", event_keys)
    return set(tx.run(f"SELECT event_key FROM events WHERE {condition}", value).scalars())


def unclaimed_events(
    ledger: Ledger, source: str, event_types: Sequence[str], outcome: str, since: int
) -> Iterator[Unclaimed]:
    """Parked or ignored events (`outcome`) of these types, received since `since` (ms), oldest first. Read in pages, so no
    transaction stays open."""
    after = 0
    while True:
        with ledger.read() as tx:
            condition, types = tx.among("event_type", event_types)
            rows = tx.run(
                "SELECT id, event_id, event_type, outcome, reason, body FROM events"
                f" WHERE outcome = ? AND id > ? AND source = ? AND received_at >= ? AND {condition} ORDER BY id LIMIT ?",
                outcome,
                after,
                source,
                since,
                types,
                PAGE,
            ).all()
        for _, event_id, event_type, event_outcome, reason, body in rows:
            yield Unclaimed(event_id, event_type, event_outcome, reason, bytes(body))
        if len(rows) < PAGE:
            return
        after = rows[-1][0]
