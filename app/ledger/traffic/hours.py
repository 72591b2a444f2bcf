"""Keeps the counts of past hours in `hourly_counts`, so that a chart of 90 days reads a few thousand rows.

An hour is counted soon after its end, and again whenever its age has doubled, since retries and people change its results.
A count with fewer rows than the earlier one means that retention removed some, so the earlier one stays.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.engine import Ledger
from app.ledger.traffic.tally import HOUR_MS, Part, first_at, tally
from app.ledger.transaction import Tx

GRACE_MS = 120_000
"""After the end of an hour, for transactions that are under way."""
KEPT_HOURS = 92 * 24
"""As far as charts reach. Older hours are dropped."""
CHUNK_HOURS = 6
HEAVY = 100_000
"""Events in a chunk above which it is counted hour by hour."""
EVENTS = ""
"""In the column `destination`: the row is about events, and says that the hour was counted."""


@dataclass(frozen=True, slots=True)
class Due:
    """Hours to count, from `start` to before `end` (ms)."""

    start: int
    end: int


def count_next(ledger: Ledger) -> int:
    """Counts the newest hours that are due, at most CHUNK_HOURS; returns how many. 0: nothing is due."""
    with ledger.read() as tx:
        now = tx.now()
        due = next_due(tx, now)
        if due is None:
            return 0
        parts = tally(tx, due.start, due.end, HOUR_MS)
    hours = range(due.start, due.end, HOUR_MS)
    ledger.transact(lambda tx: _store(tx, hours, parts, now))
    return len(hours)


def next_due(tx: Tx, now: int) -> Due | None:
    """The newest consecutive hours that are due; None if none is."""
    last = (now - GRACE_MS) // HOUR_MS * HOUR_MS - HOUR_MS
    oldest = first_at(tx)
    if oldest is None:
        return None
    first = max(oldest // HOUR_MS, last // HOUR_MS - KEPT_HOURS + 1) * HOUR_MS
    rows = tx.run("SELECT hour, counted_at FROM hourly_counts WHERE destination = ? AND hour >= ?", EVENTS, first)
    counted = {int(hour): int(counted_at) for hour, counted_at in rows.all()}
    ends = [hour for hour in range(last, first - 1, -HOUR_MS) if _is_due(hour, counted.get(hour), now)]
    if not ends:
        return None
    start = ends[0]
    due_hours = set(ends)
    while start - HOUR_MS in due_hours and (ends[0] - start) // HOUR_MS < CHUNK_HOURS - 1:
        start -= HOUR_MS
    end = ends[0] + HOUR_MS
    many = "SELECT 1 FROM events WHERE received_at >= ? AND received_at < ? ORDER BY received_at LIMIT 1 OFFSET ?"
    if start < ends[0] and tx.run(many, start, end, HEAVY).first():
        start = ends[0]
    return Due(start, end)


def _is_due(hour: int, counted_at: int | None, now: int) -> bool:
    if counted_at is None:
        return True
    end = hour + HOUR_MS
    return now - end >= 2 * (counted_at - end)


def _store(tx: Tx, hours: Sequence[int], parts: dict[int, Part], now: int) -> None:
    rows = []
    for hour in hours:
        part = parts.get(hour, Part())
        rows.append((hour, EVENTS, sum(part.events.values()), json.dumps(part.events), "{}", now))
        for name, sent in sorted(part.sent.items()):
            total = sum(sent.counts.values())
            rows.append((hour, name, total, json.dumps(sent.counts), json.dumps(sent.times), now))
    tx.run_many(_UPSERT, rows)
    counted = "UPDATE hourly_counts SET counted_at = ? WHERE hour >= ? AND hour <= ?"
    tx.run(counted, now, hours[0], hours[-1])
    tx.run("DELETE FROM hourly_counts WHERE hour < ?", now - (KEPT_HOURS + 24) * HOUR_MS)


_UPSERT = """
  INSERT INTO hourly_counts (hour, destination, total, counts, times, counted_at) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (hour, destination) DO UPDATE SET total = excluded.total, counts = excluded.counts, times = excluded.times
  WHERE excluded.total >= hourly_counts.total"""


def kept(tx: Tx, start: int, end: int) -> dict[int, Part]:
    """The counts of all hours that were counted, from `start` to before `end`."""
    statement = "SELECT hour, destination, counts, times FROM hourly_counts WHERE hour >= ? AND hour < ?"
    parts: dict[int, Part] = {}
    for hour, destination, counts, times in tx.run(statement, start, end).all():
        part = parts.setdefault(int(hour), Part())
        if destination == EVENTS:
            part.events = json.loads(counts)
        else:
            part.sent[destination].add(json.loads(counts), {int(n): count for n, count in json.loads(times).items()})
    return parts
