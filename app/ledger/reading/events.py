"""Reads events: lists, one event, and events that match a filter."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.ledger.engine import Ledger
from app.ledger.reading.filters import MOST, SCAN, EventFilter, Page
from app.ledger.reading.rows import (
    DELIVERIES,
    DELIVERY,
    EVENT,
    WITHOUT_CLICK,
    delivery_row,
    event_rows,
    every_row,
    with_refunds,
)
from app.ledger.reading.search import find, floor_of_people
from app.ledger.reading.where import OF_SOURCE, Where
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx

EVERY = EventFilter()
MOST_OF_PEOPLE = 2000
"""The most events of the people found by a search from which one page is chosen by a filter."""
READ_BACK = 1000
MOST_BODIES = 100
LONGEST_BODY = 64 * 1024


def events_that_match(
    tx: Tx,
    criteria: EventFilter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int,
) -> Page:
    """One page, newest first, with IDs below `before`. It may be shorter than `limit`, or empty, without being the last."""
    below = LARGEST_ID if before is None else before
    if criteria.text:
        return _searched(tx, criteria, sources, below, limit)
    if criteria.until is not None:  # a single upper bound: given two, SQLite starts at the wrong one
        last_before = "SELECT id FROM events WHERE received_at < ? ORDER BY received_at DESC LIMIT 1"
        below = min(below, (tx.run(last_before, criteria.until).scalar() or 0) + 1)
    indexed = Where("id < ?", below)
    if criteria.source is not None:  # by one index; the other condition filters the rows that it finds
        indexed.add("source = ?", criteria.source)
    else:
        indexed.when(criteria.outcome, "outcome = ?")
    if criteria.since is not None:
        first = "SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1"
        indexed.add("id >= ?", tx.run(first, criteria.since).scalar() or LARGEST_ID)
    is_rare = bool(criteria.destination or criteria.click or (criteria.source and criteria.outcome))
    is_plain = criteria.since is None and criteria.until is None and not is_rare
    # ids ascend with time, so nearly all within the bounds are within the times too
    scanned = limit if is_plain else SCAN if is_rare else min(limit + 500, SCAN)
    newest = f"SELECT id FROM events WHERE {indexed} ORDER BY id DESC"
    rest = _rest(criteria)
    if is_rare:
        chosen = f"({newest.replace('id', EVENT, 1)} LIMIT {scanned:d}) n WHERE 1 = 1"
        values = indexed.values
    else:  # The IDs come first: asked for whole rows, PostgreSQL may walk through all events for those of a common outcome.
        condition, value = tx.among("id", list(tx.run(f"{newest} LIMIT {scanned:d}", *indexed.values).scalars()))
        chosen, values = f"events n WHERE {condition}", [value]
    rows = tx.run(
        f"SELECT {EVENT} FROM {chosen} AND {rest} ORDER BY id DESC LIMIT ?", *values, *rest.values, limit
    ).all()
    if len(rows) == limit or is_plain:
        return Page(event_rows(tx, rows), rows[-1][0] if len(rows) == limit else None)
    last = tx.run(f"{newest} LIMIT 1 OFFSET {scanned - 1:d}", *indexed.values).scalar()
    return Page(event_rows(tx, rows), last)


def events_called(
    tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool, limit: int
) -> list[dict[str, Any]]:
    """The newest events that a search text matches, for a page whose own list is empty."""
    criteria = EventFilter(text=text, whole_addresses=whole_addresses)
    return events_that_match(tx, criteria, sources, limit=limit).rows if text else []


def _searched(tx: Tx, criteria: EventFilter, sources: Iterable[str], below: int, limit: int) -> Page:
    """Events that the text matches: by ID, by purchase or submission, and by person."""
    matches = find(tx, criteria.text, sources, whole_addresses=criteria.whole_addresses)
    rest, limit = _rest(criteria), min(limit, MOST)
    is_plain = criteria == EventFilter(text=criteria.text, whole_addresses=criteria.whole_addresses)
    # The newest rows of each person. Without further conditions, those of one person fill a page.
    scanned = limit if is_plain else max(limit, MOST_OF_PEOPLE // max(len(matches.person_ids), 1))
    floor = floor_of_people(tx, "events", matches.person_ids, scanned, below)
    parts, values = [], []
    for column, ids in (
        ("id", matches.event_ids),
        ("conversion_id", matches.conversion_ids),
        ("person_id", matches.person_ids),
    ):
        condition, value = tx.among(column, ids)
        parts.append(f"SELECT id FROM events WHERE {condition} AND id < ? AND id >= ?")
        values += [value, below, floor or 0]
    rows = tx.run(
        f"SELECT {EVENT} FROM events n WHERE id IN ({' UNION '.join(parts)}) AND {rest} ORDER BY id DESC LIMIT ?",
        *values,
        *rest.values,
        limit,
    ).all()
    return Page(event_rows(tx, rows), rows[-1][0] if len(rows) == limit else floor)


def _rest(criteria: EventFilter) -> Where:
    """Conditions on events called n."""
    where = Where().when(criteria.source, "source = ?").when(criteria.outcome, "outcome = ?")
    where.when(criteria.since, "received_at >= ?").when(criteria.until, "received_at < ?")
    is_sent_to = "EXISTS (SELECT 1 FROM deliveries d WHERE d.conversion_id = n.conversion_id AND d.destination = ?)"
    if criteria.click is not None:
        where.add(WITHOUT_CLICK.format("n.conversion_id"))
    return where.when(criteria.destination, is_sent_to)


def events_by_id(tx: Tx, ids: Sequence[int]) -> list[dict[str, Any]]:
    """These events, newest first."""
    condition, value = tx.among("id", ids)
    return event_rows(tx, tx.run(f"SELECT {EVENT} FROM events WHERE {condition} ORDER BY id DESC", value).all())


def all_events(
    ledger: Ledger, criteria: EventFilter = EVERY, sources: Iterable[str] = (), limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """All events that match, or the newest `limit`, newest first."""
    names = list(sources)

    def page_of(tx: Tx, before: int | None, most: int) -> Page:
        return events_that_match(tx, criteria, names, before=before, limit=most)

    return every_row(ledger, page_of, limit)


def event_number(tx: Tx, event_id: str) -> int | None:
    """The ledger's ID of an event, given that ID or the source and its own ID ("stripe:evt_1"); None if it does not exist."""
    condition, value = _called(event_id)
    number: int | None = tx.run(f"SELECT id FROM events WHERE {condition}", value).scalar()
    return number


def event(tx: Tx, event_id: int | str) -> dict[str, Any] | None:
    """One event with its headers, body (text) and the deliveries of its conversion; None if it does not exist.

    event_id: the ledger's ID, or source and its own ID ("stripe:evt_1").
    """
    condition, value = _called(str(event_id))
    row = tx.run(f"SELECT {EVENT}, headers, body FROM events WHERE {condition}", value).first()
    if row is None:
        return None
    (shown,) = event_rows(tx, [row[:-2]])
    shown["headers"] = json.loads(row[-2])
    shown["body"] = bytes(row[-1]).decode("utf-8", "replace")
    shown["deliveries"] = []
    if shown["conversion_id"] is not None:
        ids, values = with_refunds(tx, [shown["conversion_id"]])
        rows = tx.run(f"SELECT {DELIVERY} FROM {DELIVERIES} WHERE d.conversion_id IN ({ids}) ORDER BY d.id", *values)
        shown["deliveries"] = [delivery_row(r) for r in rows.all()]
    return shown


def _called(name: str) -> tuple[str, int | str]:
    """A condition on events, and its value."""
    name = name.replace("\x00", "\ufffd")
    is_own = name.isascii() and name.isdigit() and len(name) < 19
    return ("id = ?", int(name)) if is_own else ("event_key = ?", name)


def newest_bodies(tx: Tx, source: str, event_type: str) -> list[bytes]:
    """Bodies of the newest events of one type, among the source's newest READ_BACK, at most MOST_BODIES."""
    rows = tx.run(
        f"SELECT body FROM (SELECT id, event_type, body FROM events WHERE {OF_SOURCE} ORDER BY id DESC LIMIT ?) newest"
        " WHERE event_type = ? AND length(body) BETWEEN 1 AND ? ORDER BY id DESC LIMIT ?",
        source,
        source,
        READ_BACK,
        event_type,
        LONGEST_BODY,
        MOST_BODIES,
    )
    return [bytes(body) for (body,) in rows]
