"""What the first pages ask of the ledger, each answer by index and bounded, so that a million rows cost no more than a thousand.

Ids ascend with time over all tables, so "since an hour ago" is "from this id on", which the indexes on status and outcome know.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.ledger import queries
from app.ledger.engine import Ledger
from app.ledger.tables import LARGEST_ID
from app.model import STATUSES

MOST = 10_000
"""Where a count stops."""
SAMPLE = 1000
"""How many of the newest deliveries say how long delivering takes."""
SPANS = {"hour": (3600, 30), "day": (86_400, 24), "week": (604_800, 28)}
"""Seconds, and bars of the chart."""


def counts(ledger: Ledger, connection: Connection) -> dict[str, dict[str, int]]:
    """How many deliveries of each status and how many parked events; counting stops at MOST."""
    found: dict[str, dict[str, int]] = {"deliveries": {}, "events": {}}
    for table, column, names in (("deliveries", "status", STATUSES), ("events", "outcome", ("parked",))):
        for name in names:
            statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} WHERE {column} = ? LIMIT {MOST}) n"
            found[table][name] = int(ledger.run(connection, statement, name).scalar_one())
    return found


def has_events(ledger: Ledger, connection: Connection) -> bool:
    return ledger.run(connection, "SELECT 1 FROM events LIMIT 1").first() is not None


def oldest_waiting(ledger: Ledger, connection: Connection) -> tuple[int | None, str | None]:
    """The oldest delivery that is still open, and when it was recorded; None where none is."""
    statement = "SELECT created_at, id FROM deliveries WHERE status = ? ORDER BY id LIMIT 1"
    rows = [ledger.run(connection, statement, status).first() for status in ("pending", "retrying")]
    at, oldest = min((tuple(row) for row in rows if row is not None), default=(None, None))
    return oldest, queries.iso(at)


def seconds_since(at: str | None, now: int) -> float | None:
    """How long ago (s) an ISO time was; None where there is none."""
    return None if at is None else max(0.0, now / 1000 - datetime.fromisoformat(at).timestamp())


def timing(ledger: Ledger, connection: Connection) -> dict[str, Any]:
    """Of the newest SAMPLE deliveries that were delivered: p50 and p95 seconds from recorded to delivered; and of the newest
    SAMPLE that came to an end, the share that was delivered."""
    rows = ledger.run(
        connection,
        "SELECT created_at, delivered_at, id FROM deliveries WHERE status = 'delivered' AND delivered_at IS NOT NULL"
        f" ORDER BY id DESC LIMIT {SAMPLE}",
    ).all()
    if not rows:
        return {"p50": None, "p95": None, "rate": None, "sample": 0}
    took = sorted((delivered - created) / 1000 for created, delivered, _ in rows)
    statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE status = 'dead' AND id >= ? LIMIT {SAMPLE}) n"
    dead = int(ledger.run(connection, statement, rows[-1][2]).scalar_one())
    return {
        "p50": took[len(took) // 2],
        "p95": took[min(len(took) - 1, int(len(took) * 0.95))],
        "rate": len(rows) / (len(rows) + dead),
        "sample": len(rows),
    }


def bar_starts(now: int, seconds: int, bars: int) -> list[int]:
    """When (ms) each of the equal parts of the last `seconds` begins, oldest first, on round times; the last one is not over."""
    size = seconds * 1000 // bars
    return [(now // size - bars + 1 + index) * size for index in range(bars)]


def bar(ledger: Ledger, connection: Connection, start: int, end: int) -> dict[str, Any]:
    """What happened from `start` to before `end` (ms): events that came in, and what became of the deliveries made of them."""
    events = "SELECT COUNT(*) FROM events WHERE received_at >= ? AND received_at < ?"
    done = "SELECT COUNT(*) FROM deliveries WHERE status = ? AND id >= ? AND id < ?"
    low, high = _first_id_since(ledger, connection, start), _first_id_since(ledger, connection, end)
    found: dict[str, Any] = {"at": queries.iso(start), "events": 0, "delivered": 0, "dead": 0}
    if low < high:
        found["events"] = ledger.run(connection, events, start, end).scalar_one()
        for status in ("delivered", "dead"):
            found[status] = ledger.run(connection, done, status, low, high).scalar_one()
    return found


def _first_id_since(ledger: Ledger, connection: Connection, at: int) -> int:
    statement = "SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1"
    return int(ledger.run(connection, statement, at).scalar() or LARGEST_ID)


def last_events(ledger: Ledger, connection: Connection, names: Iterable[str]) -> list[dict[str, Any]]:
    """The last event of each source that sent something: {source, id, outcome, at}."""
    statement = "SELECT id, outcome, received_at FROM events WHERE source = ? ORDER BY id DESC LIMIT 1"
    found = []
    for name in names:
        row = ledger.run(connection, statement, name).first()
        if row is not None:
            found.append({"source": name, "id": row[0], "outcome": row[1], "at": queries.iso(row[2])})
    return sorted(found, key=lambda one: str(one["at"]), reverse=True)


def audit(
    ledger: Ledger, connection: Connection, *, before: int | None = None, subject: str | None = None, limit: int = 50
) -> Sequence[dict[str, Any]]:
    """One page of the audit log, newest first; of one subject ("delivery 12") where it is given."""
    condition, values = ("subject = ? AND ", [subject]) if subject else ("", [])
    rows = ledger.run(
        connection,
        f"SELECT id, at, actor, action, subject, detail FROM audit WHERE {condition}id < ? ORDER BY id DESC LIMIT ?",
        *values,
        before or LARGEST_ID,
        limit,
    ).all()
    names = ("id", "at", "actor", "action", "subject", "detail")
    return [dict(zip(names, (row[0], queries.iso(row[1]), *row[2:]), strict=True)) for row in rows]


def waiting(ledger: Ledger, connection: Connection, destination: str, most: int = 10_000) -> int:
    """How many open deliveries a destination has; counting stops at `most`."""
    statement = "SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE destination = ? AND due_at IS NOT NULL LIMIT ?) n"
    return int(ledger.run(connection, statement, destination, most).scalar_one())


def sandbox(ledger: Ledger, connection: Connection, limit: int = 100) -> list[dict[str, Any]]:
    """What the sandbox received, newest first."""
    rows = ledger.run(
        connection,
        "SELECT s.id, s.received_at, s.kind, s.idempotency_key, s.problem, s.body, (SELECT COUNT(*) FROM sandbox_requests o"
        " WHERE o.idempotency_key = s.idempotency_key AND o.id < s.id) FROM sandbox_requests s ORDER BY s.id DESC LIMIT ?",
        limit,
    ).all()
    names = ("id", "received_at", "kind", "idempotency_key", "problem", "body", "repeats")
    return [dict(zip(names, (row[0], queries.iso(row[1]), *row[2:]), strict=True)) for row in rows]
