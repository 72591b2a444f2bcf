"""When each source last sent something, and what became of what it sent lately. Read only, by index."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from app.ledger.engine import Ledger
from app.ledger.queries import iso

LATELY_DAYS = 7
COUNTED = 50_000
"""Of that time's events, so many are counted, the newest ones."""
_DAY_MS = 86_400_000


def activity(ledger: Ledger, connection: Connection, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """For each source of `names`: `last` (its newest event as id, at) or None, and `outcomes` of the last 7 days by name (of
    the newest COUNTED events of all sources, where there are more)."""
    found: dict[str, dict[str, Any]] = {name: {"last": None, "outcomes": {}} for name in names}
    # The index on received_at holds source and outcome too, so that no event is read for being counted.
    since = ledger.now(connection) - LATELY_DAYS * _DAY_MS
    statement = (
        "SELECT source, outcome, COUNT(*) FROM (SELECT source, outcome FROM events WHERE received_at >= ?"
        f" ORDER BY received_at DESC LIMIT {COUNTED}) e GROUP BY source, outcome"
    )
    for source, outcome, count in ledger.run(connection, statement, since).all():
        if source in found:
            found[source]["outcomes"][outcome] = count
    newest = "SELECT id, received_at FROM events WHERE source = ? ORDER BY id DESC LIMIT 1"
    for name, known in found.items():
        row = ledger.run(connection, newest, name).first()
        if row is not None:
            known["last"] = {"id": row[0], "at": iso(row[1])}
    return found
