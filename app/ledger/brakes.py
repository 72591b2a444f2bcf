"""Pausing a destination by hand, and letting it go on. Recorded in the audit log with who did it."""

from sqlalchemy import Connection

from app.ledger.engine import Ledger
from app.ledger.mending import note

LONGEST_REASON = 200


def pause(ledger: Ledger, connection: Connection, name: str, reason: str, *, actor: str) -> bool:
    """Stops forwarding to a destination: what is in flight ends, what is due waits. False where it was paused already."""
    ledger.run(connection, "INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
    words = " ".join(reason.replace("\x00", " ").split())[:LONGEST_REASON]
    told = f"{actor}: {words}" if words else f"{actor} paused it"
    changed = ledger.run(
        connection,
        "UPDATE destinations SET paused_at = ?, paused_reason = ?, paused_token = NULL WHERE name = ? AND paused_at IS NULL",
        ledger.now(connection),
        told,
        name,
    ).rowcount
    if changed:
        note(ledger, connection, actor, "pause", f"destination {name}", words)
    return bool(changed)


def resume(ledger: Ledger, connection: Connection, name: str, *, actor: str) -> bool:
    """Ends a pause, whoever began it, and lets a breaker that is open probe at once. False where there is nothing to end."""
    changed = ledger.run(
        connection,
        "UPDATE destinations SET paused_at = NULL, paused_reason = NULL, paused_token = NULL, probe_at = NULL"
        " WHERE name = ? AND paused_at IS NOT NULL",
        name,
    ).rowcount
    if changed:
        note(ledger, connection, actor, "resume", f"destination {name}")
    return bool(changed)
