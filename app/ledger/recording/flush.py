"""Writes down what recording changed of a Snapshot: what is new in one go, what is changed row by row."""

from typing import Any

from pydantic_core import to_json

from app.ledger import tables
from app.ledger.actions.replay import withdraw
from app.ledger.inserts import Rows
from app.ledger.recording.arrival import Conversion, NewEvent, Route
from app.ledger.recording.refresh import render_waiting
from app.ledger.recording.reopen import reopen
from app.ledger.recording.snapshot import Snapshot
from app.ledger.transaction import Tx
from app.persons import Person


def flush(snapshot: Snapshot, *, commits: bool = False) -> None:
    """Writes everything staged, within the caller's transaction; `commits`: which may end with that."""
    changed_persons = [p for p in snapshot.persons.values() if p.is_changed and p.merged_into is None]
    changed_conversions = [
        c for c in snapshot.conversions.values() if c.is_changed and not c.is_new and c.id not in snapshot.dropped
    ]
    _merge_persons(snapshot)
    _update_persons(snapshot, changed_persons)
    _join_conversions(snapshot)
    _update_conversions(snapshot, changed_conversions)
    _update_events(snapshot)
    _settle_parked(snapshot)
    reopen(snapshot, render_waiting(snapshot, changed_persons))
    snapshot.tx.run_many(_MARK, snapshot.marks)
    _insert_conflicts(snapshot)
    _insert(snapshot, changed_conversions, commits)


def _insert(snapshot: Snapshot, changed: list[Conversion], commits: bool) -> None:
    """All that is new. Keys and identifiers go in one order, no matter which process writes them, so that nobody deadlocks."""
    persons = [_person_row(p, snapshot.now) for p in snapshot.new_persons if p.merged_into is None]
    names = {(kind, value, person.survivor().id) for (kind, value, _), person in snapshot.new_identifiers.items()}
    conversions = [c for c in snapshot.new_conversions if c.id not in snapshot.dropped]
    keys = sorted((key, snapshot.surviving(c).id) for key, c in snapshot.new_keys.items())
    due = sorted((c for c in (*conversions, *changed) if c.deliver_at is not None), key=lambda c: (c.event_id, c.id))
    deliveries = [row for conversion in due for row in _deliveries(snapshot, conversion)]
    events = [_event_row(snapshot, e) for e in snapshot.new_events if e.arrival.recorded_as is None]
    facts = sorted((value, kind, event_id, given) for event_id, (value, kind, given) in snapshot.new_facts)
    snapshot.tx.insert_all(
        (
            Rows(tables.persons, _PERSON, persons),
            Rows(tables.identifiers, _IDENTIFIER, [(*n, snapshot.now) for n in sorted(names)], unless_there=True),
            Rows(tables.conversions, _CONVERSION, [_conversion_row(c) for c in conversions]),
            Rows(tables.dedupe_keys, ("key", "conversion_id"), keys),
            Rows(tables.deliveries, DELIVERY, deliveries),
            Rows(tables.events, _EVENT, events),
            Rows(tables.event_facts, _FACT, facts, unless_there=True),
        ),
        commits=commits,
    )


def _merge_persons(snapshot: Snapshot) -> None:
    for loser in snapshot.merged:
        if not loser.is_new:
            _merge(snapshot.tx, loser.id, loser.survivor().id)


def _update_persons(snapshot: Snapshot, changed: list[Person]) -> None:
    statement = f"UPDATE persons SET {', '.join(f'{c} = ?' for c in _PERSON[1:9])} WHERE id = ?"
    rows = [(*_person_row(p, 0)[1:9], p.id) for p in changed]
    snapshot.tx.run_many(statement, rows)
    seen = [
        (snapshot.now, kind, value, person.survivor().id)
        for (kind, value, _), person in sorted(snapshot.seen_again.items(), key=lambda item: item[0])
    ]
    statement = "UPDATE identifiers SET seen_at = ? WHERE kind = ? AND value = ? AND person_id = ?"
    snapshot.tx.run_many(statement, seen)


def _join_conversions(snapshot: Snapshot) -> None:
    tx = snapshot.tx
    for loser_id, winner in snapshot.dropped.items():
        tx.run(_HAND_OVER, winner.id, loser_id)
        tx.run("UPDATE events SET conversion_id = ? WHERE conversion_id = ?", winner.id, loser_id)
        tx.run("DELETE FROM conversions WHERE id = ?", loser_id)
    for loser, winner in snapshot.withdrawn:
        tx.run(_HAND_OVER, winner.id, loser.id)
        withdraw(tx, loser.id, f"it is one purchase with {winner.dedupe_key}, which is sent")
    for other, first in snapshot.sent_twice:
        withdraw(tx, first.id, f"it is one purchase with {other.dedupe_key}", tried=other.id)
        withdraw(tx, other.id, f"it is one purchase with {first.dedupe_key}, which is sent")


def _update_conversions(snapshot: Snapshot, changed: list[Conversion]) -> None:
    statement = f"UPDATE conversions SET {', '.join(f'{c} = ?' for c in _CONVERSION[1:])} WHERE id = ?"
    snapshot.tx.run_many(statement, [(*_conversion_row(c)[1:], c.id) for c in changed])


def _update_events(snapshot: Snapshot) -> None:
    """Those that were reprocessed, and those that came again."""
    tx = snapshot.tx
    again = [e for e in snapshot.new_events if e.arrival.recorded_as is not None]
    remapped = [(*_event_row(snapshot, e)[5:9], e.id) for e in again]
    statement = "UPDATE events SET outcome = ?, reason = ?, conversion_id = ?, person_id = ? WHERE id = ?"
    tx.run_many(statement, remapped)
    repeats = [(e.repeats, snapshot.now, e.id) for e in snapshot.events.values() if e.repeats and not e.is_new]
    statement = "UPDATE events SET received_count = received_count + ?, last_received_at = ? WHERE id = ?"
    tx.run_many(statement, repeats)


def _settle_parked(snapshot: Snapshot) -> None:
    """What they wanted to count is counted: nothing is left to do about them."""
    rows = []
    for event_id, conversion in sorted(snapshot.settled.items()):
        counted = snapshot.surviving(conversion)
        person_id = counted.person.survivor().id if counted.person else None
        rows.append((counted.settled_reason, counted.id, person_id, event_id))
    statement = (
        "UPDATE events SET outcome = 'duplicate', reason = ?, conversion_id = ?, person_id = ?"
        " WHERE id = ? AND outcome = 'parked'"
    )
    snapshot.tx.run_many(statement, rows)


def _insert_conflicts(snapshot: Snapshot) -> None:
    """Each is noted once for a person."""
    tx = snapshot.tx
    for event_id, person, conversion, reason, kind in snapshot.conflicts:
        person_id = person.survivor().id if person else None
        statement = "SELECT 1 FROM conflicts WHERE person_id = ? AND reason = ?"
        if not tx.run(statement, person_id, reason).first():
            row = (snapshot.now, event_id, person_id, conversion.id if conversion else None, reason, kind)
            tx.insert(tables.conflicts, _CONFLICT, [row])


def _merge(tx: Tx, loser: int, winner: int) -> None:
    """Everything of one person becomes another's."""
    for table in ("events", "conversions", "deliveries", "conflicts"):
        tx.run(f"UPDATE {table} SET person_id = ? WHERE person_id = ?", winner, loser)
    tx.run(
        "INSERT INTO identifiers (kind, value, person_id, seen_at)"
        " SELECT kind, value, CAST(? AS BIGINT), seen_at FROM identifiers WHERE person_id = ? ON CONFLICT DO NOTHING",
        winner,
        loser,
    )
    tx.run("DELETE FROM identifiers WHERE person_id = ?", loser)
    tx.run(  # it belongs to the winner now, and must not be kept twice
        "UPDATE persons SET merged_into = ?, customer_id = NULL, explicit_id = NULL, provider_id = NULL, email = NULL,"
        " name = NULL, phone = NULL, click_first = NULL, click_last = NULL WHERE id = ?",
        winner,
        loser,
    )


_PERSON = (
    "id",
    "customer_id",
    "explicit_id",
    "provider_id",
    "email",
    "name",
    "phone",
    "click_first",
    "click_last",
    "created_at",
)
_IDENTIFIER = ("kind", "value", "person_id", "seen_at")
_CONVERSION = (
    "id",
    "state",
    "kind",
    "source",
    "dedupe_key",
    "hold",
    "event_id",
    "person_id",
    "occurred_at",
    "created_at",
    "facts",
)
_EVENT = (
    "id",
    "event_key",
    "source",
    "event_id",
    "event_type",
    "outcome",
    "reason",
    "conversion_id",
    "person_id",
    "received_at",
    "received_count",
    "last_received_at",
    "headers",
    "body",
)
DELIVERY = (
    "id",
    "conversion_id",
    "person_id",
    "event_id",
    "source",
    "kind",
    "destination",
    "dedupe_key",
    "status",
    "payload",
    "omitted",
    "due_at",
    "held",
    "created_at",
)
_MARK = (
    "INSERT INTO marks (reference, key, kind, status, minor, currency, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (reference, key) DO UPDATE SET status = excluded.status, minor = excluded.minor, at = excluded.at"
    " WHERE excluded.at >= marks.at"
)
_HAND_OVER = "UPDATE dedupe_keys SET conversion_id = ? WHERE conversion_id = ?"
_CONFLICT = ("at", "event_id", "person_id", "conversion_id", "reason", "kind")
_FACT = ("value", "kind", "event_id", "given")


def _deliveries(snapshot: Snapshot, conversion: Conversion) -> list[tuple[Any, ...]]:
    """One row for each route that takes `conversion`."""
    return [
        delivery_row(snapshot, conversion, route)
        for route in snapshot.routes
        if route.takes(conversion.kind, conversion.source)
    ]


def delivery_row(snapshot: Snapshot, conversion: Conversion, route: Route) -> tuple[Any, ...]:
    """A delivery of `conversion` to one destination, values in the order of DELIVERY."""
    assert conversion.person is not None
    assert conversion.deliver_at is not None
    return (
        snapshot.next_id(),
        conversion.id,
        conversion.person.survivor().id,
        conversion.event_id,
        conversion.source,
        conversion.kind,
        route.name,
        conversion.dedupe_key,
        "pending",
        *snapshot.render(conversion, route),
        conversion.deliver_at,
        int(conversion.deliver_at > snapshot.now),
        snapshot.now,
    )


def _event_row(snapshot: Snapshot, event: NewEvent) -> tuple[Any, ...]:
    arrival, mapped = event.arrival, event.arrival.mapped
    return (
        event.id,
        arrival.event_key,
        arrival.source,
        mapped.event_id,
        mapped.event_type,
        event.outcome,
        event.reason,
        snapshot.surviving(event.conversion).id if event.conversion else None,
        event.person.survivor().id if event.person else None,
        int(arrival.received_at.timestamp() * 1000),
        1 + snapshot.events[arrival.event_key].repeats,
        snapshot.now,
        to_json(arrival.headers).decode(),
        arrival.inbound.body,
    )


def _person_row(person: Person, created_at: int) -> tuple[Any, ...]:
    return (
        person.id,
        person.customer_id,
        person.explicit_id,
        person.provider_id,
        person.email,
        person.name,
        person.phone,
        person.click_first,
        person.click_last,
        created_at,
    )


def _conversion_row(conversion: Conversion) -> tuple[Any, ...]:
    return (
        conversion.id,
        conversion.state,
        conversion.kind,
        conversion.source,
        conversion.dedupe_key,
        conversion.hold,
        conversion.event_id,
        conversion.person.survivor().id if conversion.person else None,
        conversion.occurred_at,
        conversion.created_at,
        to_json(conversion.facts).decode(),
    )
