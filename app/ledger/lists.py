"""Lists that match a filter, by index, and bounded as the search is: a page looks at SCAN rows at most. Read only."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.ledger import queries
from app.ledger.engine import Ledger
from app.ledger.search import MOST, SCAN, Filter, Page, failed, find
from app.ledger.tables import LARGEST_ID
from app.model import STATUSES


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. since and until in ms; text is what was searched for (see search.find for whole_addresses)."""

    outcome: str | None = None
    source: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    whole_addresses: bool = False


def deliveries_that_match(
    ledger: Ledger,
    connection: Connection,
    wanted: Filter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int,
) -> Page:
    """One page, newest first, with ids below `before`. It may be short of `limit`, or empty, and still not the last."""
    is_plain = wanted == Filter(statuses=wanted.statuses, whole_addresses=wanted.whole_addresses)
    if is_plain and len(wanted.statuses) in (1, len(STATUSES)):
        status = wanted.statuses[0] if len(wanted.statuses) == 1 else None
        rows = queries.deliveries(ledger, connection, status=status, before=before, limit=limit)
        return Page(rows, rows[-1]["id"] if len(rows) == limit else None)
    return failed(ledger, connection, wanted, sources, before=before, limit=limit)


def events_that_match(
    ledger: Ledger,
    connection: Connection,
    wanted: EventFilter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int,
) -> Page:
    """One page, newest first, with ids below `before`. It may be short of `limit`, or empty, and still not the last."""
    below = LARGEST_ID if before is None else before
    if wanted.text:
        return _searched(ledger, connection, wanted, sources, below, limit)
    if wanted.until is not None:  # one upper bound alone: of two, SQLite walks from the wrong one
        last_before = "SELECT id FROM events WHERE received_at < ? ORDER BY received_at DESC LIMIT 1"
        below = min(below, (ledger.run(connection, last_before, wanted.until).scalar() or 0) + 1)
    conditions: list[str] = ["id < ?"]
    values: list[Any] = [below]
    for column, value in (("source", wanted.source), ("outcome", wanted.outcome)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
            break  # by the index of one of them; the other is asked of what that finds
    if wanted.since is not None:
        first = "SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1"
        conditions.append("id >= ?")
        values.append(ledger.run(connection, first, wanted.since).scalar() or LARGEST_ID)
    is_plain = wanted.since is None and wanted.until is None and None in (wanted.source, wanted.outcome)
    # ids ascend with time, so nearly all within the bounds are within the times too
    looked_at = limit if is_plain else SCAN if wanted.source and wanted.outcome else min(limit + 500, SCAN)
    where = f"FROM events WHERE {' AND '.join(conditions)} ORDER BY id DESC"
    newest = f"SELECT {queries.EVENT} {where} LIMIT {looked_at:d}"
    rest, more = _rest(wanted)
    rows = ledger.run(
        connection,
        f"SELECT {queries.EVENT} FROM ({newest}) n WHERE {rest} ORDER BY id DESC LIMIT ?",
        *values,
        *more,
        limit,
    ).all()
    found = [queries.event_row(row) for row in rows]
    if len(rows) == limit or is_plain:
        return Page(found, rows[-1][0] if len(rows) == limit else None)
    last = ledger.run(connection, f"SELECT id {where} LIMIT 1 OFFSET {looked_at - 1:d}", *values).scalar()
    return Page(found, last)


def _searched(
    ledger: Ledger, connection: Connection, wanted: EventFilter, sources: Iterable[str], below: int, limit: int
) -> Page:
    """Of what the text names: events by their id, those of its purchases or submissions, and of its persons."""
    found = find(ledger, connection, wanted.text, sources, whole_addresses=wanted.whole_addresses)
    parts, values = [], []
    for column, ids in (
        ("id", found.event_ids),
        ("conversion_id", found.conversion_ids),
        ("person_id", found.person_ids),
    ):
        condition, value = ledger.among(column, ids)
        parts.append(f"SELECT id FROM events WHERE {condition}")
        values.append(value)
    rest, more = _rest(wanted)
    rows = ledger.run(
        connection,
        f"SELECT {queries.EVENT} FROM events WHERE id IN ({' UNION '.join(parts)}) AND id < ? AND {rest}"
        " ORDER BY id DESC LIMIT ?",
        *values,
        below,
        *more,
        min(limit, MOST),
    ).all()
    return Page([queries.event_row(row) for row in rows], rows[-1][0] if len(rows) == limit else None)


def _rest(wanted: EventFilter) -> tuple[str, list[Any]]:
    conditions, values = ["1 = 1"], []
    for condition, value in (
        ("source = ?", wanted.source),
        ("outcome = ?", wanted.outcome),
        ("received_at >= ?", wanted.since),
        ("received_at < ?", wanted.until),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return " AND ".join(conditions), values
