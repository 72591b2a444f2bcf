"""Counts, the oldest waiting delivery, running workers, and destinations' pauses. Read only, by index."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cachetools import TTLCache

from app.ledger.forwarding.breaker import BREAKER_FAILURES
from app.ledger.transaction import Tx
from app.model import OUTCOMES, STATUSES
from app.times import iso

LARGE = 200_000
"""Counts this large are cached. A smaller ledger is counted each time."""

KEPT_SECONDS = 15.0


class CountCache:
    """Caches counts of a large ledger. Safe to share between threads; two that ask at once may both count."""

    def __init__(self, *, large: int = LARGE, clock: Callable[[], float] = time.monotonic) -> None:
        self._large = large
        self._counts: TTLCache[str, dict[str, int]] = TTLCache(16, KEPT_SECONDS, clock)
        self._lock = threading.Lock()

    def get(self, name: str, count: Callable[[], dict[str, int]]) -> dict[str, int]:
        """The cached result of count() for `name`, if it was large and at most KEPT_SECONDS old; otherwise a fresh one."""
        with self._lock:
            kept = self._counts.get(name)
        if kept is None:
            kept = count()
            if sum(kept.values()) >= self._large:
                with self._lock:
                    self._counts[name] = kept
        return dict(kept)


ALIVE_SECONDS = 20
"""A worker with an older heartbeat counts as dead."""


def stats(tx: Tx, counts: CountCache | None = None) -> dict[str, Any]:
    """Deliveries by status, events by outcome, the oldest waiting delivery, running workers, and destinations' pauses.

    counts: a cache for a caller that asks often. Counts of a large ledger may then be some seconds old.
    """
    now, counts = tx.now(), counts or CountCache()
    by_status = counts.get("deliveries", lambda: _tally(tx, "deliveries", "status", STATUSES, "delivered"))
    tally = counts.get("events", lambda: _outcomes(tx))
    by_outcome = {name: count for name, count in tally.items() if count}
    statement = "SELECT COALESCE(SUM(received_count - 1), 0) FROM events WHERE received_count > 1"
    repeats = tx.run(statement).scalar_one()
    statement = "SELECT MIN(due_at) FROM deliveries WHERE due_at IS NOT NULL AND claim IS NULL"
    oldest = tx.run(statement).scalar_one()
    return {
        "deliveries": by_status,
        "events": by_outcome,
        "repeats": int(repeats),
        "oldest_due_seconds": max(0.0, (now - oldest) / 1000) if oldest is not None else None,
        "workers_alive": len(workers_alive(tx)),
        "destinations": destinations(tx),
    }


def _outcomes(tx: Tx) -> dict[str, int]:
    newest = "SELECT outcome FROM events WHERE id > 0 ORDER BY id DESC LIMIT 500"
    statement = f"SELECT outcome FROM ({newest}) n GROUP BY outcome ORDER BY COUNT(*) DESC LIMIT 1"
    commonest = tx.run(statement).scalar() or OUTCOMES[0]
    return _tally(tx, "events", "outcome", OUTCOMES, commonest)


def _tally(tx: Tx, table: str, column: str, names: Sequence[str], commonest: str) -> dict[str, int]:
    """Exact counts of rows by `column`. The most common value is computed from the total, which is much faster to count."""
    statement = f"SELECT COUNT(*) FROM {table} WHERE {column} = ?"
    tallies = {name: int(tx.run(statement, name).scalar_one()) for name in names if name != commonest}
    rest = int(tx.run(f"SELECT COUNT(*) FROM {table}").scalar_one()) - sum(tallies.values())
    # Rows change between two statements; none of them may make a count negative.
    return {name: tallies.get(name, max(rest, 0)) for name in names}


def destinations(tx: Tx) -> list[dict[str, Any]]:
    """The pauses of each destination."""
    rows = tx.run("SELECT name, paused_at, paused_reason, failures, probe_at FROM destinations ORDER BY name").all()
    return [
        {
            "name": name,
            "paused_at": iso(paused),
            "paused_reason": why,
            "failures": failures,
            "probe_at": iso(probe),
            "is_open": failures >= BREAKER_FAILURES,
        }
        for name, paused, why, failures, probe in rows
    ]


def backlogs(tx: Tx, now: int) -> dict[str, int]:
    """How many deliveries of each destination are due and not claimed."""
    statement = "SELECT destination, COUNT(*) FROM deliveries WHERE due_at <= ? AND claim IS NULL GROUP BY destination"
    return {name: int(count) for name, count in tx.run(statement, now).all()}


def claims(tx: Tx) -> dict[str, int]:
    """How many deliveries of each destination a worker holds."""
    statement = "SELECT destination, COUNT(*) FROM deliveries WHERE claim IS NOT NULL GROUP BY destination"
    return {name: int(count) for name, count in tx.run(statement).all()}


def workers_alive(tx: Tx, now: int | None = None) -> list[tuple[int, str, int]]:
    """Workers with a fresh heartbeat, `now` (ms) by the database's clock: (id, host, pid)."""
    since = (tx.now() if now is None else now) - ALIVE_SECONDS * 1000
    rows = tx.run(
        "SELECT id, host, pid FROM workers WHERE stopped_at IS NULL AND heartbeat_at >= ? ORDER BY id",
        since,
    )
    return [tuple(row) for row in rows.all()]
