"""The audit log: who changed what by hand, and when."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from app import times
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.tables import LARGEST_ID


def note(ledger: Ledger, connection: Connection, actor: str, action: str, subject: str, detail: str = "") -> None:
    """One line in the audit log."""
    row = (ledger.now(connection), actor, action, subject, detail)
    ledger.insert(connection, tables.audit, ("at", "actor", "action", "subject", "detail"), [row])


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
    return [dict(zip(names, (row[0], times.iso(row[1]), *row[2:]), strict=True)) for row in rows]
