"""Writes the changes in a Snapshot: new rows in bulk, changed rows one by one."""

from operator import itemgetter
from typing import Any

from app.ledger import tables
from app.ledger.actions.replay import JOINED, withdraw
from app.ledger.inserts import Rows
from app.ledger.recording.arrival import Conversion, Route
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.refresh import release_new, render_waiting
from app.ledger.recording.reopen import reopen
from app.ledger.recording.rows import conversion_row, event_row, outcome_row, person_row
from app.ledger.recording.shadow import render_shadows, shadow_row
from app.ledger.transaction import Tx
from app.persons import Person


def flush(snapshot: Snapshot, *, commits: bool = False) -> None:
    """Writes everything staged, within the caller's transaction. commits: this ends the transaction."""
    changed_persons = [p for p in snapshot.persons.values() if p.is_changed and p.merged_into is None]
    changed_conversions = [
        c for c in snapshot.conversions.values() if c.is_changed and not c.is_new and c.id not in snapshot.dropped
    ]
    release_new(snapshot)
    _merge_persons(snapshot)
    _update_persons(snapshot, changed_persons)
    _join_conversions(snapshot)
    snapshot.tx.update(tables.conversions, [conversion_row(c) for c in changed_conversions])
    _mark_clicked(snapshot, changed_persons)
    _update_events(snapshot)
    _settle_parked(snapshot)
    touched = render_waiting(snapshot, changed_persons)
    reopen(snapshot, changed_persons, touched)
    render_shadows(snapshot, touched)
    snapshot.tx.run_many(_MARK, snapshot.marks)
    _insert_conflicts(snapshot)
    _insert(snapshot, changed_conversions, commits)


def _insert(snapshot: Snapshot, changed: list[Conversion], commits: bool) -> None:
    """Inserts all new rows. Keys and identifiers are inserted in sorted order, so concurrent processes cannot deadlock."""
    now = snapshot.now
    persons = [{**person_row(p), "created_at": now} for p in snapshot.new_persons if p.merged_into is None]
    names = {(kind, value, person.survivor().id) for (kind, value, _), person in snapshot.new_identifiers.items()}
    identifiers = [{"kind": k, "value": v, "person_id": p, "seen_at": now} for k, v, p in sorted(names)]
    conversions = [c for c in snapshot.new_conversions if c.id not in snapshot.dropped]
    keys = sorted((key, snapshot.surviving(c).id) for key, c in snapshot.new_keys.items())
    due = sorted((c for c in (*conversions, *changed) if c.deliver_at is not None), key=lambda c: (c.event_id, c.id))
    events = [
        event_row(event, snapshot.dropped, now, snapshot.events[event.arrival.event_key].repeats)
        for event in snapshot.new_events
        if event.arrival.recorded_as is None
    ]
    facts = sorted(snapshot.new_facts, key=itemgetter("value", "kind", "event_id"))
    deliveries = [row for conversion in due for row in _deliveries(snapshot, conversion)]
    snapshot.tx.insert_all(
        (
            Rows(tables.persons, persons),
            Rows(tables.identifiers, identifiers, unless_there=True),
            Rows(tables.conversions, [conversion_row(c) for c in conversions]),
            Rows(tables.dedupe_keys, [{"key": key, "conversion_id": owner} for key, owner in keys]),
            Rows(tables.deliveries, [row for row in deliveries if row["status"] != "shadow"]),
            Rows(tables.deliveries, [row for row in deliveries if row["status"] == "shadow"]),
            Rows(tables.events, events),
            Rows(tables.event_facts, facts, unless_there=True),
        ),
        commits=commits,
    )


def _merge_persons(snapshot: Snapshot) -> None:
    for loser in snapshot.merged:
        if not loser.is_new:
            _merge(snapshot.tx, loser.id, loser.survivor().id)


def _update_persons(snapshot: Snapshot, changed: list[Person]) -> None:
    snapshot.tx.update(tables.persons, [person_row(person) for person in changed])
    seen = [
        (snapshot.now, kind, form, person.survivor().id)
        for (kind, value, _), person in sorted(snapshot.seen_again.items(), key=lambda item: item[0])
        for form in snapshot.tx.forms(value)
    ]
    statement = "UPDATE identifiers SET seen_at = ? WHERE kind = ? AND value = ? AND person_id = ?"
    snapshot.tx.run_many(statement, seen)


def _mark_clicked(snapshot: Snapshot, changed: list[Person]) -> None:
    """Notes a click ID that arrived while conversions of its person wait to be sent, or are sent again for it."""
    gained = [(person.id,) for person in changed if person.gained_click and not person.is_new]
    statement = (
        "UPDATE conversions SET clicked = 1 WHERE person_id = ? AND clicked = 0 AND EXISTS (SELECT 1 FROM deliveries d"
        " WHERE d.conversion_id = conversions.id AND (d.due_at IS NOT NULL OR d.status = 'unattributed'))"
    )
    snapshot.tx.run_many(statement, gained)


def _join_conversions(snapshot: Snapshot) -> None:
    tx = snapshot.tx
    for loser_id, winner in snapshot.dropped.items():
        tx.run(_HAND_OVER, winner.id, loser_id)
        tx.run(_HAND_OVER_REFUNDS, winner.id, loser_id)
        tx.run("UPDATE events SET conversion_id = ? WHERE conversion_id = ?", winner.id, loser_id)
        tx.run("DELETE FROM conversions WHERE id = ?", loser_id)
    for loser, winner in snapshot.withdrawn:
        tx.run(_HAND_OVER, winner.id, loser.id)
        tx.run(_HAND_OVER_REFUNDS, winner.id, loser.id)
        withdraw(tx, loser.id, f"{JOINED}{winner.dedupe_key}, which is sent")
    for other, first in snapshot.sent_twice:
        withdraw(tx, first.id, f"{JOINED}{other.dedupe_key}", tried=other.id)
        withdraw(tx, other.id, f"{JOINED}{first.dedupe_key}, which is sent")


def _update_events(snapshot: Snapshot) -> None:
    """Updates reprocessed and repeated events."""
    again = [event for event in snapshot.new_events if event.arrival.recorded_as is not None]
    snapshot.tx.update(tables.events, [outcome_row(event, snapshot.dropped) for event in again])
    repeats = [(e.repeats, snapshot.now, e.id) for e in snapshot.events.values() if e.repeats and not e.is_new]
    statement = "UPDATE events SET received_count = received_count + ?, last_received_at = ? WHERE id = ?"
    snapshot.tx.run_many(statement, repeats)


def _settle_parked(snapshot: Snapshot) -> None:
    """Closes parked events whose conversion is now counted."""
    rows = []
    for event_id, conversion in sorted({**snapshot.settled, **snapshot.counted}.items()):
        counted = snapshot.surviving(conversion)
        person_id = counted.person.survivor().id if counted.person else None
        outcome, reason = "duplicate", counted.settled_reason
        if event_id in snapshot.counted:
            outcome, reason = counted.kind, counted.named_reason
        rows.append((outcome, reason, counted.id, person_id, event_id))
    statement = (
        "UPDATE events SET outcome = ?, reason = ?, conversion_id = ?, person_id = ?"
        " WHERE id = ? AND outcome = 'parked'"
    )
    snapshot.tx.run_many(statement, rows)


def _insert_conflicts(snapshot: Snapshot) -> None:
    """Inserts conflicts, each once per person."""
    for conflict in snapshot.conflicts:
        person_id = conflict.person.survivor().id if conflict.person else None
        condition, value = snapshot.tx.among_sealed("reason", [conflict.reason])
        statement = f"SELECT 1 FROM conflicts WHERE person_id = ? AND {condition}"
        if not snapshot.tx.run(statement, person_id, value).first():
            row = {
                "at": snapshot.now,
                "event_id": conflict.event_id,
                "person_id": person_id,
                "conversion_id": conflict.conversion.id if conflict.conversion else None,
                "reason": conflict.reason,
                "kind": conflict.kind,
            }
            snapshot.tx.insert_all([Rows(tables.conflicts, [row])])


def _merge(tx: Tx, loser: int, winner: int) -> None:
    """Moves everything from one person to another."""
    for table in ("events", "conversions", "deliveries", "conflicts"):
        tx.run(f"UPDATE {table} SET person_id = ? WHERE person_id = ?", winner, loser)
    tx.run(
        "INSERT INTO identifiers (kind, value, person_id, seen_at)"
        " SELECT kind, value, CAST(? AS BIGINT), seen_at FROM identifiers WHERE person_id = ? ON CONFLICT DO NOTHING",
        winner,
        loser,
    )
    tx.run("DELETE FROM identifiers WHERE person_id = ?", loser)
    # It belongs to the winner now, and must not be kept twice.
    nothing = ", ".join(f"{name} = NULL" for name in tables.PERSON_FACTS)
    tx.run(f"UPDATE persons SET merged_into = ?, {nothing} WHERE id = ?", winner, loser)


_MARK = (
    "INSERT INTO marks (reference, key, kind, status, minor, currency, at, event_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (reference, key) DO UPDATE SET status = excluded.status, minor = excluded.minor, at = excluded.at,"
    " event_id = excluded.event_id WHERE excluded.at > marks.at OR (excluded.at = marks.at AND"
    " (excluded.minor >= marks.minor OR marks.reference NOT LIKE '%:refunded'))"  # sums of one second grow
)
_HAND_OVER = "UPDATE dedupe_keys SET conversion_id = ? WHERE conversion_id = ?"
_HAND_OVER_REFUNDS = "UPDATE refunds SET sale_id = ? WHERE sale_id = ?"


def _deliveries(snapshot: Snapshot, conversion: Conversion) -> list[dict[str, Any]]:
    """One row for each route that accepts `conversion`."""
    return [
        delivery_row(snapshot, conversion, route)
        for route in snapshot.routes
        if route.takes(conversion.kind, conversion.source)
    ]


def delivery_row(snapshot: Snapshot, conversion: Conversion, route: Route) -> dict[str, Any]:
    """The row of a delivery of `conversion` to one destination."""
    assert conversion.person is not None
    assert conversion.deliver_at is not None
    payload, omitted = snapshot.render(conversion, route)
    row = {
        "id": snapshot.next_id(),
        "conversion_id": conversion.id,
        "person_id": conversion.person.survivor().id,
        "event_id": conversion.event_id,
        "source": conversion.source,
        "kind": conversion.kind,
        "destination": route.name,
        "dedupe_key": conversion.dedupe_key,
        "status": "pending",
        "payload": payload,
        "omitted": omitted,
        "due_at": conversion.deliver_at,
        "held": int(conversion.deliver_at > snapshot.now),
        "created_at": snapshot.now,
    }
    return shadow_row(row, snapshot, conversion, route) if route.is_shadow else row
