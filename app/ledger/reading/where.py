"""WHERE clauses, put together condition by condition, the IDs between two times, and what matched already at a moment.

IDs ascend with time, and events, conversions and deliveries share one counter, so the index of events turns a time into an ID.
"""

from typing import Any, Self

from app.ledger.reading.filters import DELIVERED_WITHIN_MS, AsOf, Filter
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx

MARGIN_MS = 60_000
"""IDs that are given out at the same time may be stored in another order."""

_NEWEST = "(SELECT id FROM events WHERE (source, id) <= (?, 9223372036854775807) ORDER BY source DESC, id DESC LIMIT 1)"
NEWEST_OF_SOURCE, OF_SOURCE = f"source = ? AND id = {_NEWEST}", f"source = ? AND id <= {_NEWEST}"
"""Conditions on events; their two values are the source. Only the index on source and ID has this order: asked for a source alone,
newest first, PostgreSQL may walk through everything that came since."""


class Where:
    """Conditions that must all hold. In a statement it is `WHERE {where}`, and its placeholders take `where.values`."""

    __slots__ = ("_conditions", "values")

    def __init__(self, condition: str | None = None, *values: Any) -> None:
        self._conditions: list[str] = []
        self.values: list[Any] = []
        if condition is not None:
            self.add(condition, *values)

    def add(self, condition: str, *values: Any) -> Self:
        self._conditions.append(condition)
        self.values += values
        return self

    def when(self, value: Any, condition: str) -> Self:
        """Adds a condition on `value`, unless it is None."""
        return self if value is None else self.add(condition, value)

    def __str__(self) -> str:
        return " AND ".join(self._conditions) or "1 = 1"


def id_before(tx: Tx, moment: int) -> int:
    """An ID below every row recorded at or after `moment` (ms)."""
    statement = "SELECT id FROM events WHERE received_at < ? ORDER BY received_at DESC LIMIT 1"
    event_id: int | None = tx.run(statement, moment - MARGIN_MS).scalar()
    return event_id or 0


def id_after(tx: Tx, moment: int) -> int:
    """An ID above every row recorded before `moment` (ms)."""
    statement = "SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1"
    event_id: int | None = tx.run(statement, moment + MARGIN_MS).scalar()
    return LARGEST_ID if event_id is None else event_id


def bounds(tx: Tx, criteria: Filter, below: int) -> tuple[int, int]:
    """The bounds of the delivery IDs in the window of a filter: below the first value, and not below the second."""
    lowest = 0
    if criteria.delivered_until is not None:
        below = min(below, id_after(tx, criteria.delivered_until))
    if criteria.delivered_since is not None:
        lowest = id_before(tx, criteria.delivered_since - DELIVERED_WITHIN_MS)
    return below, lowest


def as_of_now(tx: Tx) -> AsOf:
    """This moment of the ledger."""
    event, delivery, attempt, line = (
        int(tx.run(f"SELECT COALESCE(MAX(id), 0) FROM {table}").scalar_one()) for table in _GROWING
    )
    newest = "SELECT MAX(t.dead_at) FROM deliveries t WHERE t.status = 'dead' AND t.destination = d.name"
    died = tx.run(f"SELECT MAX(n.at) FROM (SELECT ({newest}) AS at FROM destinations d) n").scalar()
    # The clock may have been set back.
    return AsOf(max(tx.now(), died or 0), max(event, delivery), attempt, line)


_GROWING = ("events", "deliveries", "attempts", "audit")
_UNCOUNTED = "'unauthorized', 'redirected', 'continued'"
"""Results of attempts after which a delivery stays pending (see forwarding/outcomes.py)."""


def matched_at(criteria: Filter, moment: AsOf) -> Where:
    """A condition on deliveries called d that match now: they matched at that moment too.

    Nobody acted on them since. No attempt was made since either, unless they were retrying already and all such ones are asked for.
    """
    unchanged = (
        "COALESCE(d.dead_at, 0) <= ? AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id AND a.id > ?)"
    )
    values = [moment.at, moment.attempt]
    if "retrying" in criteria.statuses and criteria.code is None and criteria.reason is None:
        retried = "a.delivery_id = d.id AND a.id <= ? AND a.number > d.schedule_start"
        unchanged += f" OR EXISTS (SELECT 1 FROM attempts a WHERE {retried} AND a.result NOT IN ({_UNCOUNTED}))"
        values.append(moment.attempt)
    where = Where("d.id <= ?", moment.row).add(f"({unchanged})", *values)
    return where.add(
        "NOT EXISTS (SELECT 1 FROM audit l WHERE l.subject = 'delivery ' || d.id AND l.id > ?)", moment.line
    )
