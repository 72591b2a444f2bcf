"""Reads parked events. Read only, by index and bounded."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app import times
from app.ledger.reading.filters import AsOf
from app.ledger.reading.where import Where
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.model import Inbound

SCANNED = 10_000
"""The most parked events that are grouped, and that one page is chosen from by their reason, newest first."""
MOST_GROUPS = 50
LONGEST_BODY = 64 * 1024
"""A list reads no larger body; the page of an event does."""


@dataclass(frozen=True, slots=True)
class ParkedSelection:
    """Parked events: `ids`, or all of a source, of a reason, or of both; all of them by default. as_of: only those that were
    parked at that moment and unchanged since."""

    ids: Sequence[int] = ()
    source: str | None = None
    reason: str | None = None
    as_of: AsOf | None = None

    def where(self, tx: Tx) -> Where:
        where = Where("outcome = 'parked'")
        if self.ids:
            where.add(*tx.among("id", list(self.ids)))
        if self.as_of is not None:
            where.add("id <= ?", self.as_of.row)
            changed = "SELECT 1 FROM audit l WHERE l.subject = 'event ' || events.id AND l.id > ?"
            where.add(f"NOT EXISTS ({changed})", self.as_of.line)
        return where.when(self.source, "source = ?").when(self.reason, "reason = ?")


EVERY = ParkedSelection()


@dataclass(frozen=True, slots=True)
class Group:
    """Parked events of one source with one reason. oldest, newest: ISO."""

    source: str
    reason: str
    count: int
    oldest: str
    newest: str


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """One parked event as the ledger has it. inbound: None if its body is larger than a list reads."""

    id: int
    source: str
    event_id: str
    event_type: str
    reason: str
    person_id: int | None
    received_at: int
    inbound: Inbound | None
    filled_in: dict[str, str] = field(default_factory=dict)


def groups(tx: Tx) -> tuple[list[Group], bool]:
    """Parked events by source and reason, the most first, and whether these are all: only the newest SCANNED are counted."""
    rows = tx.run(
        "SELECT source, reason, COUNT(*), MIN(received_at), MAX(received_at) FROM (SELECT source, reason, received_at"
        f" FROM events WHERE outcome = 'parked' ORDER BY id DESC LIMIT {SCANNED}) n GROUP BY source, reason"
        " ORDER BY 3 DESC, source, reason"
    ).all()
    shown = [
        Group(source, reason, count, times.iso(low) or "", times.iso(high) or "")
        for source, reason, count, low, high in rows[:MOST_GROUPS]
    ]
    return shown, sum(row[2] for row in rows) < SCANNED and len(rows) <= MOST_GROUPS


def parked_ids(tx: Tx, selection: ParkedSelection, limit: int) -> list[int]:
    """The IDs of parked events, oldest first."""
    where = selection.where(tx)
    return list(tx.run(f"SELECT id FROM events WHERE {where} ORDER BY id LIMIT ?", *where.values, limit).scalars())


def parked_page(
    tx: Tx, selection: ParkedSelection = EVERY, *, before: int | None = None, limit: int
) -> tuple[list[ParkedRow], int | None]:
    """One page of parked events with IDs below `before`, newest first, and below which ID to continue; None at the end. It may be
    shorter than `limit`, or empty, without being the last."""
    floor = None
    if selection.reason is not None:
        where = replace(selection, reason=None).where(tx).add("id < ?", LARGEST_ID if before is None else before)
        statement = f"SELECT id FROM events WHERE {where} ORDER BY id DESC LIMIT 1 OFFSET {SCANNED - 1}"
        floor = tx.run(statement, *where.values).scalar()
    rows = parked_rows(tx, selection, before=before, lowest=floor, limit=limit)
    return rows, rows[-1].id if len(rows) == limit else floor


def parked_rows(
    tx: Tx,
    selection: ParkedSelection = EVERY,
    *,
    before: int | None = None,
    after: int | None = None,
    lowest: int | None = None,
    limit: int,
    longest: int = LONGEST_BODY,
) -> list[ParkedRow]:
    """Parked events with IDs from `lowest` to below `before`, newest first; with `after`, those above it, oldest first."""
    where = selection.where(tx).when(lowest, "id >= ?")
    if after is None:
        where.add("id < ?", LARGEST_ID if before is None else before)
    else:
        where.add("id > ?", after)
    rows = tx.run(
        "SELECT id, source, event_id, event_type, reason, person_id, received_at, headers,"
        f" CASE WHEN length(body) <= {longest:d} THEN body END FROM events WHERE {where}"
        f" ORDER BY id {'DESC' if after is None else 'ASC'} LIMIT ?",
        *where.values,
        limit,
    ).all()
    by_hand = fill_ins(tx, [row[0] for row in rows])
    events = []
    for event_id, source, own_id, kind, reason, person_id, received_at, headers, body in rows:
        inbound = None if body is None else Inbound(bytes(body), json.loads(headers))
        events.append(
            ParkedRow(
                event_id, source, own_id, kind, reason, person_id, received_at, inbound, by_hand.get(event_id, {})
            )
        )
    return events


def fill_ins(tx: Tx, event_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """What was filled in by hand, by event and field."""
    condition, value = tx.among("event_id", list(event_ids))
    values: dict[int, dict[str, str]] = {}
    for event_id, name, text in tx.run(f"SELECT event_id, field, value FROM fill_ins WHERE {condition}", value).all():
        values.setdefault(event_id, {})[name] = text
    return values


def fill_ins_of(tx: Tx, event_id: int) -> list[dict[str, Any]]:
    """What was filled in for one event: {field, value, actor, at}."""
    rows = tx.run("SELECT field, value, actor, at FROM fill_ins WHERE event_id = ? ORDER BY field", event_id).all()
    return [
        {"field": name, "value": text, "actor": actor, "at": times.iso(filled_in_at)}
        for name, text, actor, filled_in_at in rows
    ]


def dismissal_of(tx: Tx, event_id: int) -> dict[str, Any] | None:
    """Who dismissed an event and when; None if nobody did."""
    row = tx.run("SELECT actor, at, reason FROM dismissals WHERE event_id = ?", event_id).first()
    return row and {"actor": row[0], "at": times.iso(row[1]), "was": row[2]}


def dismissed(tx: Tx, limit: int) -> list[dict[str, Any]]:
    """The events dismissed most recently."""
    rows = tx.run(
        "SELECT e.id, e.source, e.event_type, e.reason, d.actor, d.at, d.reason FROM"
        " (SELECT event_id, actor, at, reason FROM dismissals ORDER BY at DESC, event_id DESC LIMIT ?) d"
        " JOIN events e ON e.id = d.event_id WHERE e.outcome = 'ignored' ORDER BY d.at DESC, e.id DESC",
        limit,
    ).all()
    names = ("id", "source", "event_type", "reason", "actor", "at", "was")
    return [dict(zip(names, row, strict=True)) | {"at": times.iso(row[5])} for row in rows]
