"""The first and the last event of each source, and its last marked test. Bounded, by index."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.ledger.reading.where import NEWEST_OF_SOURCE, OF_SOURCE
from app.ledger.transaction import Tx
from app.times import iso

TEST = "test: %"
"""How the reason of an event begins that was marked as a test (app/intake/marked_test.py)."""
LOOKED_AT = 50
"""Of the newest events, so many are looked at for a test."""
COLUMNS = "id, received_at, outcome, reason, event_type"


@dataclass(frozen=True, slots=True)
class Heard:
    """An event in short. at: when it was first received, in ISO 8601."""

    id: int
    at: str
    outcome: str
    reason: str
    event_type: str


def first_event(tx: Tx, source: str) -> Heard | None:
    """The first event of a source that is not a marked test."""
    statement = f"SELECT {COLUMNS} FROM events WHERE source = ? AND reason NOT LIKE ? ORDER BY id LIMIT 1"
    return _heard(tx.run(statement, source, TEST).first())


def last_event(tx: Tx, source: str) -> Heard | None:
    """The newest event of a source, a marked test or not."""
    return _heard(tx.run(f"SELECT {COLUMNS} FROM events WHERE {NEWEST_OF_SOURCE}", source, source).first())


def last_test(tx: Tx, source: str) -> Heard | None:
    """The newest marked test among the newest events of a source."""
    newest = f"SELECT {COLUMNS} FROM events WHERE {OF_SOURCE} ORDER BY id DESC LIMIT {LOOKED_AT}"
    statement = f"SELECT {COLUMNS} FROM ({newest}) n WHERE reason LIKE ? ORDER BY id DESC LIMIT 1"
    return _heard(tx.run(statement, source, source, TEST).first())


def has_real_event(tx: Tx, sources: Iterable[str]) -> bool:
    """Whether any of these sources sent something other than a marked test."""
    return any(first_event(tx, name) is not None for name in sources)


def names_of_sources(tx: Tx) -> list[str]:
    """Every source with an event in the ledger, even if it is no longer configured. It skips from name to name in the index."""
    return list(
        tx.run(
            "WITH RECURSIVE names(name) AS (SELECT MIN(source) FROM events WHERE source > '' UNION ALL"
            " SELECT (SELECT MIN(source) FROM events WHERE source > names.name) FROM names WHERE names.name IS NOT NULL)"
            " SELECT name FROM names WHERE name IS NOT NULL"
        ).scalars()
    )


def _heard(row: Any) -> Heard | None:
    if row is None:
        return None
    ident, received_at, outcome, reason, event_type = row
    return Heard(int(ident), iso(received_at) or "", outcome, reason, event_type or "")
