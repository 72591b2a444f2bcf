"""The audit log: who changed what by hand, and when."""

from collections.abc import Sequence
from typing import Any

from app import times
from app.ledger import tables
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx


def note(tx: Tx, actor: str, action: str, subject: str, detail: str = "") -> None:
    """One line in the audit log."""
    row = (tx.now(), actor, action, subject, detail)
    tx.insert(tables.audit, ("at", "actor", "action", "subject", "detail"), [row])


def audit(
    tx: Tx, *, before: int | None = None, subject: str | None = None, limit: int = 50
) -> Sequence[dict[str, Any]]:
    """One page of the audit log, newest first; of one subject ("delivery 12") where it is given."""
    condition, values = ("subject = ? AND ", [subject]) if subject else ("", [])
    rows = tx.run(
        f"SELECT id, at, actor, action, subject, detail FROM audit WHERE {condition}id < ? ORDER BY id DESC LIMIT ?",
        *values,
        before or LARGEST_ID,
        limit,
    ).all()
    names = ("id", "at", "actor", "action", "subject", "detail")
    return [dict(zip(names, (row[0], times.iso(row[1]), *row[2:]), strict=True)) for row in rows]
