"""Destinations in shadow mode: nothing is sent to them, so nothing of theirs stays open."""

from collections.abc import Sequence

from app.ledger.transaction import Tx

CLOSED = "it was open when its destination went into shadow mode"


def has_open(tx: Tx, destinations: Sequence[str]) -> bool:
    """Whether `close_open` would find something; cheap, and writes nothing."""
    statement = "SELECT 1 FROM deliveries WHERE destination = ? AND due_at IS NOT NULL AND claim IS NULL LIMIT 1"
    return any(tx.run(statement, name).first() is not None for name in destinations)


def close_open(tx: Tx, destinations: Sequence[str]) -> None:
    """What was recorded before they went into shadow mode and is still open waits for nobody. `bridge replay --to` sends it later.
    Idempotent."""
    statement = (
        "UPDATE deliveries SET status = 'shadow', due_at = NULL, held = 0, last_error = NULL, note = ?"
        " WHERE destination = ? AND due_at IS NOT NULL AND claim IS NULL"
    )
    for name in destinations:
        tx.run(statement, CLOSED, name)
