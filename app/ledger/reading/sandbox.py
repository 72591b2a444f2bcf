"""What the sandbox received."""

from typing import Any

from app import times
from app.ledger.transaction import Tx


def sandbox(tx: Tx, limit: int = 100) -> list[dict[str, Any]]:
    """What the sandbox received, newest first."""
    rows = tx.run(
        "SELECT s.id, s.received_at, s.kind, s.idempotency_key, s.problem, s.body, (SELECT COUNT(*) FROM sandbox_requests o"
        " WHERE o.idempotency_key = s.idempotency_key AND o.id < s.id) FROM sandbox_requests s ORDER BY s.id DESC LIMIT ?",
        limit,
    ).all()
    names = ("id", "received_at", "kind", "idempotency_key", "problem", "body", "repeats")
    return [dict(zip(names, (row[0], times.iso(row[1]), *row[2:]), strict=True)) for row in rows]
