"""Reads the bodies of events as they were received, within bounds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.ledger.reading.where import OF_SOURCE
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx

MOST_BYTES = 8 * 1024 * 1024
LONGEST_REMOVED = 20
"""Bytes of what stands instead of a body that was removed, which also has no headers any more."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it came in. body: b"" where retention or an erasure removed it."""

    id: int
    source: str
    body: bytes
    headers: Mapping[str, str]
    received_at: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest events of a source that have bodies, newest first. removed: those without one. too_large: events from there
    on were left out, since all bodies together would be more than MOST_BYTES."""

    events: Sequence[Received]
    removed: int = 0
    too_large: int = 0


COLUMNS = "id, source, body, headers, received_at, outcome"


def received(tx: Tx, event_id: int) -> Received | None:
    if event_id > LARGEST_ID:
        return None
    row = tx.run(f"SELECT {COLUMNS} FROM events WHERE id = ?", event_id).first()
    return None if row is None else _received(row)


def recent(tx: Tx, source: str, most: int) -> Recent:
    """The newest `most` events of a source."""
    statement = f"SELECT id, LENGTH(body), LENGTH(headers) FROM events WHERE {OF_SOURCE} ORDER BY id DESC LIMIT ?"
    chosen, removed, too_large, size = [], 0, 0, 0
    for identity, length, of_headers in tx.run(statement, source, source, most).all():
        if of_headers <= len("{}") and length <= LONGEST_REMOVED:
            removed += 1
            continue
        size += length
        if size > MOST_BYTES:
            too_large += 1
        else:
            chosen.append(identity)
    condition, value = tx.among("id", chosen)
    rows = tx.run(f"SELECT {COLUMNS} FROM events WHERE {condition} ORDER BY id DESC", value).all()
    return Recent([_received(row) for row in rows], removed, too_large)


def _received(row: Sequence[object]) -> Received:
    identity, source, body, headers, received_at, outcome = row
    return Received(int(identity), str(source), bytes(body), json.loads(str(headers)), int(received_at), str(outcome))  # type: ignore[call-overload]
