"""Records an event and rolls it back: what recording it would do, given the current ledger."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The receipt of recording an event, and its conversion's deliveries: {id, destination, kind, status, key, payload (as
    text), omitted}. id: None for a delivery that does not exist yet."""

    receipt: Receipt
    deliveries: Sequence[dict[str, Any]]


class _TakeBack(Exception):
    """Ends the transaction without a trace."""


def rehearse(ledger: Ledger, arrival: Arrival, policy: Policy) -> Rehearsed:
    """Records `arrival` in a transaction that is rolled back. No other transaction sees it. Raises LedgerUnavailable."""
    results: list[Rehearsed] = []
    try:
        with ledger.write() as tx:
            first = tx.reserve_ids(1)[0]  # whatever is recorded from here on has a higher ID
            (receipt,) = record(tx, [arrival], policy)
            results.append(Rehearsed(receipt, _deliveries(tx, receipt.id, first)))
            raise _TakeBack
    except _TakeBack:
        return results[0]


def recorded(ledger: Ledger, event_id: int) -> Rehearsed | None:
    """The same for an event that is already recorded."""
    with ledger.read() as tx:
        row = tx.run("SELECT id, event_id, outcome, reason FROM events WHERE id = ?", event_id).first()
        return None if row is None else Rehearsed(Receipt(*row), _deliveries(tx, event_id, LARGEST_ID))


def _deliveries(tx: Tx, event_id: int, first: int) -> list[dict[str, Any]]:
    rows = tx.run(
        "SELECT d.id, d.destination, d.kind, d.status, d.dedupe_key, d.payload, d.omitted FROM deliveries d"
        " JOIN events e ON e.conversion_id = d.conversion_id WHERE e.id = ? ORDER BY d.id LIMIT 100",
        event_id,
    ).all()
    return [
        {
            "id": None if identity > first else identity,
            "destination": destination,
            "kind": kind,
            "status": status,
            "key": key,
            "payload": payload,
            "omitted": json.loads(omitted) if omitted else [],
        }
        for identity, destination, kind, status, key, payload, omitted in rows
    ]
