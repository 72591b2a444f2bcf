"""Reads what the sandbox received."""

import json
from typing import Any

from app import times
from app.config.destinations import SANDBOX
from app.ledger.transaction import Tx

LOOKED_AT = 2000


def sandbox(tx: Tx, limit: int = 100) -> list[dict[str, Any]]:
    """Requests that the sandbox received, newest first."""
    rows = tx.run(
        "SELECT s.id, s.received_at, s.kind, s.idempotency_key, s.problem, s.body, (SELECT COUNT(*) FROM sandbox_requests o"
        " WHERE o.idempotency_key = s.idempotency_key AND o.id < s.id) FROM sandbox_requests s ORDER BY s.id DESC LIMIT ?",
        limit,
    ).all()
    names = ("id", "received_at", "kind", "idempotency_key", "problem", "body", "repeats")
    return [dict(zip(names, (row[0], times.iso(row[1]), *row[2:]), strict=True)) for row in rows]


def live_conversions(tx: Tx) -> tuple[int, int | None]:
    """How many of the newest LOOKED_AT deliveries from Stripe went only to the sandbox but came from live events, and when the
    first was recorded (ms)."""
    rows = tx.run(
        "SELECT d.created_at, e.body FROM deliveries d JOIN events e ON e.id = d.event_id"
        f" WHERE d.destination = '{SANDBOX}' AND d.source = 'stripe' AND d.status = 'delivered' AND NOT EXISTS ("
        f"SELECT 1 FROM deliveries o WHERE o.conversion_id = d.conversion_id AND o.destination <> '{SANDBOX}')"
        f" ORDER BY d.id DESC LIMIT {LOOKED_AT}"
    ).all()
    times = [int(created_at) for created_at, body in rows if _is_live(bytes(body))]
    return len(times), min(times, default=None)


def _is_live(body: bytes) -> bool:
    if b'"livemode"' not in body:
        return False
    try:
        return json.loads(body).get("livemode") is True
    except (ValueError, AttributeError):
        return False
