"""Conversions as they are recorded: each once, in the order of their ids."""

import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from app.ledger.engine import Ledger, look
from app.ledger.reading.rows import PAGE, about
from app.ledger.transaction import Tx
from app.times import iso

OUTCOMES = ("sale", "lead", "parked")
OVERLAP_SECONDS = 15.0
"""How long lower ids are read again: on PostgreSQL a transaction may commit after one that drew higher ids."""


class Tail:
    """Reads what was recorded since the last read. For one thread."""

    def __init__(self, ledger: Ledger, since: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """since: begin with events received at or after that time (ms); None: with new events only."""
        self._ledger = ledger
        self._clock = clock
        with look(ledger) as tx:
            self._floor = _id_before(tx, since)
        self._seen: set[int] = set()
        self._marks: deque[tuple[float, int]] = deque()

    def read(self) -> list[dict[str, Any]]:
        """Events that are conversions (`sale`, `lead`) or cannot become one yet (`parked`), oldest first, each with its amount,
        its person, and its deliveries as they are now."""
        conversions: list[dict[str, Any]] = []
        after = self._floor
        with look(self._ledger) as tx:
            while rows := _rows(tx, after):
                after = rows[-1][0]
                conversions += _conversions(tx, [row for row in rows if row[0] not in self._seen])
                self._seen |= {row[0] for row in rows}
        self._move(after)
        return conversions

    def _move(self, last: int) -> None:
        now = self._clock()
        self._marks.append((now, last))
        while self._marks and self._marks[0][0] <= now - OVERLAP_SECONDS:
            self._floor = max(self._floor, self._marks.popleft()[1])
        self._seen = {identity for identity in self._seen if identity > self._floor}


def _id_before(tx: Tx, since: int | None) -> int:
    if since is None:
        return int(tx.run("SELECT COALESCE(MAX(id), 0) FROM events").scalar_one())
    first = tx.run("SELECT id FROM events WHERE received_at >= ? ORDER BY received_at, id LIMIT 1", since).scalar()
    return _id_before(tx, None) if first is None else int(first) - 1


def _rows(tx: Tx, after: int) -> list[Any]:
    listed = ", ".join(f"'{outcome}'" for outcome in OUTCOMES)
    return list(
        tx.run(
            "SELECT e.id, e.received_at, e.source, e.event_id, e.event_type, e.outcome, e.reason, e.conversion_id, c.dedupe_key,"
            " c.facts, p.customer_id, p.email FROM events e LEFT JOIN conversions c ON c.id = e.conversion_id"
            f" LEFT JOIN persons p ON p.id = c.person_id WHERE e.id > ? AND e.outcome IN ({listed}) ORDER BY e.id LIMIT ?",
            after,
            PAGE,
        ).all()
    )


def _conversions(tx: Tx, rows: list[Any]) -> list[dict[str, Any]]:
    condition, value = tx.among("conversion_id", [row[7] for row in rows if row[7] is not None])
    deliveries: dict[int, list[dict[str, Any]]] = {}
    statement = f"SELECT conversion_id, id, destination, status FROM deliveries WHERE {condition} ORDER BY id"
    for conversion_id, identity, destination, status in tx.run(statement, value).all():
        delivery = {"id": identity, "destination": destination, "status": status}
        deliveries.setdefault(conversion_id, []).append(delivery)
    return [
        {
            "event": row[0],
            "received_at": iso(row[1]),
            "source": row[2],
            "event_id": row[3],
            "event_type": row[4],
            "outcome": row[5],
            "reason": row[6],
            "dedupe_key": row[8],
            **about(json.loads(row[9]) if row[9] else {}, row[10], row[11]),
            "deliveries": deliveries.get(row[7], []),
        }
        for row in rows
    ]
