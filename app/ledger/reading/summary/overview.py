"""Reads for the Overview and the Sources page, all by index and bounded, so that a million rows cost no more than a thousand.

IDs ascend with time over all tables, so "since an hour ago" is "from this ID on", which the indexes on status and outcome
support.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from app import times
from app.ledger.reading.where import NEWEST_OF_SOURCE
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.model import STATUSES
from app.times import iso

LATELY_DAYS = 7

COUNTED = 50_000
"""The most events that are counted, newest first."""

_DAY_MS = 86_400_000


MOST = 10_000
"""Where a count stops."""
MOST_OF_A_DAY = 100_000
"""Where the counts of the last 24 hours stop."""
SAMPLE = 1000
"""How many of the newest deliveries give the delivery times."""


def counts(tx: Tx) -> dict[str, dict[str, int]]:
    """Deliveries by status, and parked events. Counting stops at MOST."""
    totals: dict[str, dict[str, int]] = {"deliveries": {}, "events": {}}
    for table, column, names in (("deliveries", "status", STATUSES), ("events", "outcome", ("parked",))):
        for name in names:
            statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} WHERE {column} = ? LIMIT {MOST}) n"
            totals[table][name] = int(tx.run(statement, name).scalar_one())
    return totals


def counted_twice(tx: Tx, since: int) -> list[int]:
    """Events since `since` (ms) that showed two sent Sales or Leads to be one; newest first, at most MOST."""
    statement = f"SELECT event_id FROM conflicts WHERE kind = 'counted_twice' AND at >= ? ORDER BY at DESC LIMIT {MOST}"
    return list(tx.run(statement, since).scalars())


def has_events(tx: Tx) -> bool:
    return tx.run("SELECT 1 FROM events LIMIT 1").first() is not None


def oldest_waiting(tx: Tx) -> tuple[int | None, str | None]:
    """The oldest open delivery and when it was recorded; None if there is none."""
    statement = "SELECT created_at, id FROM deliveries WHERE status = ? ORDER BY id LIMIT 1"
    rows = [tx.run(statement, status).first() for status in ("pending", "retrying")]
    created_at, oldest = min((tuple(row) for row in rows if row is not None), default=(None, None))
    return oldest, times.iso(created_at)


def seconds_since(moment: str | None, now: int) -> float | None:
    """How long ago (s) an ISO time was; None for None."""
    return None if moment is None else max(0.0, now / 1000 - datetime.fromisoformat(moment).timestamp())


def timing(tx: Tx) -> dict[str, Any]:
    """p50 and p95 seconds from recorded to delivered, over the newest SAMPLE delivered ones, and the share delivered among the
    newest SAMPLE final ones."""
    # One look-up by ID for each column: otherwise PostgreSQL may read the whole table, or all of a backlog.
    newest = f"SELECT id FROM deliveries WHERE status = 'delivered' ORDER BY id DESC LIMIT {SAMPLE}"
    column = "(SELECT d.{0} FROM deliveries d WHERE d.id = n.id)"
    columns = ", ".join(column.format(name) for name in ("created_at", "delivered_at"))
    newest_first = tx.run(f"SELECT {columns}, n.id FROM ({newest}) n ORDER BY n.id DESC").all()
    rows = [row for row in newest_first if row[1] is not None]
    if not rows:
        return {"p50": None, "p95": None, "rate": None, "sample": 0}
    took = sorted((delivered - created) / 1000 for created, delivered, _ in rows)
    statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE status = 'dead' AND id >= ? LIMIT {SAMPLE}) n"
    dead = int(tx.run(statement, rows[-1][2]).scalar_one())
    return {
        "p50": took[len(took) // 2],
        "p95": took[min(len(took) - 1, int(len(took) * 0.95))],
        "rate": len(rows) / (len(rows) + dead),
        "sample": len(rows),
    }


def last_day(tx: Tx) -> dict[str, int]:
    """Events received within the last 24 hours, and those of their deliveries that are delivered or dead. Each count stops at
    MOST_OF_A_DAY."""
    since = tx.now() - _DAY_MS
    events = f"SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE received_at >= ? LIMIT {MOST_OF_A_DAY}) n"
    done = f"SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE status = ? AND id >= ? LIMIT {MOST_OF_A_DAY}) n"
    first = "SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1"
    lowest = tx.run(first, since).scalar() or LARGEST_ID
    counted = {name: int(tx.run(done, name, lowest).scalar_one()) for name in ("delivered", "dead")}
    return {"events": int(tx.run(events, since).scalar_one()), **counted}


def last_events(tx: Tx, names: Iterable[str]) -> list[dict[str, Any]]:
    """The last event of each source that sent something: {source, id, outcome, at}."""
    statement = f"SELECT id, outcome, received_at FROM events WHERE {NEWEST_OF_SOURCE}"
    newest = []
    for name in names:
        row = tx.run(statement, name, name).first()
        if row is not None:
            newest.append({"source": name, "id": row[0], "outcome": row[1], "at": times.iso(row[2])})
    return sorted(newest, key=lambda event: str(event["at"]), reverse=True)


def waiting(tx: Tx, destination: str, most: int = 10_000) -> int:
    """How many open deliveries a destination has. Counting stops at `most`."""
    statement = "SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE destination = ? AND due_at IS NOT NULL LIMIT ?) n"
    return int(tx.run(statement, destination, most).scalar_one())


def activity(tx: Tx, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """For each source of `names`: `last` (its newest event as id, at) or None, and `outcomes` of the last 7 days by name (of
    the newest COUNTED events of all sources, where there are more)."""
    sources: dict[str, dict[str, Any]] = {name: {"last": None, "outcomes": {}} for name in names}
    # The index on received_at also holds source and outcome, so counting reads no event.
    since = tx.now() - LATELY_DAYS * _DAY_MS
    statement = (
        "SELECT source, outcome, COUNT(*) FROM (SELECT source, outcome FROM events WHERE received_at >= ?"
        f" ORDER BY received_at DESC LIMIT {COUNTED}) e GROUP BY source, outcome"
    )
    for source, outcome, count in tx.run(statement, since).all():
        if source in sources:
            sources[source]["outcomes"][outcome] = count
    newest = f"SELECT id, received_at FROM events WHERE {NEWEST_OF_SOURCE}"
    for name, known in sources.items():
        row = tx.run(newest, name, name).first()
        if row is not None:
            known["last"] = {"id": row[0], "at": iso(row[1])}
    return sources
