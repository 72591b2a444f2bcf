"""Probes the ledger: a write like that of a webhook, and deliveries that are overdue."""

import secrets
from collections.abc import Sequence

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import BREAKER_FAILURES
from app.ledger.forwarding.claims import due_since
from app.ledger.transaction import Tx

OVERDUE_SECONDS = 120
_ROW = "probe"
_EVENT = (
    *("id", "event_key", "source", "event_id", "event_type", "outcome", "reason"),
    *("received_at", "last_received_at", "headers", "body"),
)


def try_write(ledger: Ledger) -> None:
    """Writes what a webhook would write, removes it, and commits. Leaves one row of `counters`. Raises LedgerUnavailable.

    A ledger that answers reads may still refuse writes: a replica, a full disk, a file without write permission.
    """
    token = secrets.randbits(62)

    def work(tx: Tx) -> None:
        now = tx.now()
        event = (-token, f"probe:{token}", "probe", str(token), "probe", "ignored", "", now, now, "{}", bytes(4096))
        tx.insert(tables.events, _EVENT, [event])
        tx.run("DELETE FROM events WHERE id = ?", -token)
        if not tx.run("UPDATE counters SET value = ? WHERE name = ?", now, _ROW).rowcount:
            statement = "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING"
            tx.run(statement, _ROW, now)

    ledger.transact(work)


def overdue(tx: Tx, names: Sequence[str], *, hold_seconds: float, now: int) -> list[tuple[str, int]]:
    """Destinations with a delivery that could have been sent OVERDUE_SECONDS ago: (name, seconds late).

    Paused and unresponsive destinations are left out: their deliveries wait for a reason.
    """
    stopped = {
        name
        for (name,) in tx.run(
            "SELECT name FROM destinations WHERE paused_at IS NOT NULL OR failures >= ?",
            BREAKER_FAILURES,
        ).all()
    }
    late = []
    for name in names:
        before, hold_ms = now - OVERDUE_SECONDS * 1000, int(hold_seconds * 1000)
        if name not in stopped:
            since = due_since(tx, name, before, now=now, hold_ms=hold_ms)
            if since is not None:
                late.append((name, (now - since) // 1000))
    return late


def late(seconds: int) -> str:
    """A delay for people."""
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
