"""Counts events by outcome, and deliveries by destination, status and time to deliver, in parts of equal length."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from app.ledger.tables import LARGEST_ID
from app.ledger.traffic.histogram import part_in_sql
from app.ledger.transaction import Tx

HOUR_MS = 3_600_000
SKEW_MS = 5000
"""Writers draw the clock and their IDs together, so IDs ascend with time but for this much."""
Counts = dict[str, int]
Times = dict[int, int]


@dataclass(slots=True)
class Sent:
    """Deliveries to one destination by status, and how long the delivered ones took (see histogram)."""

    counts: Counts = field(default_factory=lambda: defaultdict(int))
    times: Times = field(default_factory=lambda: defaultdict(int))

    def add(self, counts: Mapping[str, int], times: Mapping[int, int]) -> None:
        for status, count in counts.items():
            self.counts[status] += count
        for part, count in times.items():
            self.times[part] += count


@dataclass(slots=True)
class Part:
    """What was received within a part of time: events by outcome, and deliveries of it by destination."""

    events: Counts = field(default_factory=lambda: defaultdict(int))
    sent: dict[str, Sent] = field(default_factory=lambda: defaultdict(Sent))

    def add(self, other: Self) -> None:
        for outcome, count in other.events.items():
            self.events[outcome] += count
        for name, results in other.sent.items():
            self.sent[name].add(results.counts, results.times)


def tally(tx: Tx, start: int, end: int, size: int) -> dict[int, Part]:
    """What was received from `start` to before `end` (ms), by the beginning of each part of `size` ms. Empty parts are left out."""
    parts: dict[int, Part] = defaultdict(Part)
    if start >= end:
        return parts
    size = int(size)
    rows = tx.run(
        f"SELECT received_at / {size}, outcome, COUNT(*) FROM events WHERE received_at >= ? AND received_at < ?"
        " GROUP BY 1, 2",
        start,
        end,
    )
    for number, outcome, count in rows.all():
        parts[int(number) * size].events[outcome] += int(count)
    rows = tx.run(_SENT.format(size=size), _last_id_before(tx, start), _first_id_after(tx, end), start, end)
    for number, destination, status, took, count in rows.all():
        results = parts[int(number) * size].sent[destination]
        results.add({status: int(count)}, {} if took is None else {int(took): int(count)})
    return parts


_SENT = f"""
  SELECT created_at / {{size}}, destination, status,
    CASE WHEN status = 'delivered' AND delivered_at IS NOT NULL THEN {part_in_sql("took")} END, COUNT(*)
  FROM (SELECT created_at, destination, status, delivered_at, delivered_at - created_at AS took FROM deliveries
        WHERE id > ? AND id < ? AND created_at >= ? AND created_at < ?) d
  GROUP BY 1, 2, 3, 4"""


def first_at(tx: Tx) -> int | None:
    """When the oldest event that is kept was received (ms)."""
    received_at: int | None = tx.run(
        "SELECT received_at FROM events WHERE received_at > 0 ORDER BY received_at LIMIT 1"
    ).scalar()
    return received_at


def _last_id_before(tx: Tx, moment: int) -> int:
    statement = "SELECT id FROM events WHERE received_at < ? ORDER BY received_at DESC LIMIT 1"
    return int(tx.run(statement, moment - SKEW_MS).scalar() or 0)


def _first_id_after(tx: Tx, moment: int) -> int:
    statement = "SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1"
    return int(tx.run(statement, moment + SKEW_MS).scalar() or LARGEST_ID)
