"""Renders waiting deliveries again when their person changes.

A person may have thousands of waiting deliveries, and the writer that records their next event must not render all of them. It
renders the first MOST and marks the person (stale_payloads); the rest is rendered when it is claimed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.ledger.forwarding.claims import Claimed
from app.ledger.recording.arrival import Conversion, Route
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.payload import shown_of
from app.ledger.transaction import Tx
from app.persons import Person

MOST = 100
MOST_HELD = 500
_COLUMNS = "id, conversion_id, person_id, destination, payload, omitted, due_at, held"
_WAITING = "due_at IS NOT NULL AND attempts = 0 AND claim IS NULL"


def render_waiting(snapshot: Snapshot, changed: Sequence[Person]) -> list[Person]:
    """Applies what recording changed to waiting deliveries: their person, and released holds. Returns the people whose payloads
    changed."""
    merged = {p.survivor().id for p in snapshot.merged if not p.is_new}
    persons = [p for p in changed if not p.is_new and (p.id in merged or _looks_different(snapshot, p))]
    rows: dict[int, Any] = {}
    for person in sorted(persons, key=lambda p: p.id):
        waiting = _rows(snapshot, f"person_id = ? AND {_WAITING} ORDER BY id LIMIT {MOST + 1}", person.id)
        if len(waiting) > MOST:
            snapshot.tx.run("INSERT INTO stale_payloads (person_id) VALUES (?) ON CONFLICT DO NOTHING", person.id)
        rows |= {row[0]: row for row in waiting[:MOST]}
    released = {p.survivor().id for p in snapshot.released if not p.survivor().is_new}
    for person_id in sorted(released | {p.id for p in persons}):
        waiting = _rows(snapshot, f"person_id = ? AND held > 0 AND {_WAITING} ORDER BY id LIMIT {MOST_HELD}", person_id)
        rows |= {row[0]: row for row in waiting}
    for conversion in snapshot.claimed:
        waiting = _rows(snapshot, f"conversion_id = ? AND {_WAITING} ORDER BY id", conversion.id)
        rows |= {row[0]: row for row in waiting}
    _render(snapshot, [rows[identity] for identity in sorted(rows)], released)
    return persons


def _looks_different(snapshot: Snapshot, person: Person) -> bool:
    """Whether payloads would change. Clicks that no destination uses are ignored."""
    before, now = snapshot.shown.get(person.id), shown_of(person)
    if before is None:
        return True
    touches = {route.first_touch for route in snapshot.routes}
    unused = {position for position, first in ((1, True), (2, False)) if first not in touches}
    return any(a != b for position, (a, b) in enumerate(zip(before, now, strict=True)) if position not in unused)


def _rows(snapshot: Snapshot, condition: str, value: int) -> list[Any]:
    tx = snapshot.tx
    return list(tx.run(f"SELECT {_COLUMNS} FROM deliveries WHERE {condition}{tx.for_update}", value).all())


def _render(snapshot: Snapshot, rows: Sequence[Any], released: set[int]) -> None:
    snapshot.load_conversions([row[1] for row in rows])
    routes = {route.name: route for route in snapshot.routes}
    changes = []
    for identity, conversion_id, person_id, destination, payload, omitted, due_at, held in rows:
        conversion = snapshot.conversions[conversion_id]
        conversion.person = snapshot.person(person_id).survivor()
        route = routes.get(destination)
        text, left_out = payload, omitted
        if route:
            text, left_out = snapshot.render(conversion, route)
        goes = held and (conversion in snapshot.claimed or _waits_no_longer(conversion, released))
        due = min(due_at, snapshot.now) if goes else due_at
        if (text, left_out, due) != (payload, omitted, due_at):
            changes.append((text, left_out, conversion.dedupe_key, due, 0 if goes else held, identity))
    snapshot.tx.run_many(_CHANGE, changes)


def _waits_no_longer(conversion: Conversion, released: set[int]) -> bool:
    """Whether its person is known now as it waited for. released: those whom an event identified fully."""
    if conversion.hold == "details":
        return conversion.is_named
    is_released = conversion.person is not None and conversion.person.survivor().id in released
    return (is_released and conversion.hold in ("none", "person", "click")) or (
        conversion.hold == "click" and conversion.is_complete
    )


def release_new(snapshot: Snapshot) -> None:
    """Releases conversions whose deliveries this group creates, where a later event of it brought what they wait for."""
    released = {person.survivor().id for person in snapshot.released}
    for conversion in snapshot.conversions.values():
        if (conversion.deliver_at or 0) > snapshot.now and _waits_no_longer(conversion, released):
            conversion.deliver_at = snapshot.now


_CHANGE = "UPDATE deliveries SET payload = ?, omitted = ?, dedupe_key = ?, due_at = ?, held = ? WHERE id = ?"


def refresh(tx: Tx, claimed: Sequence[Claimed], route: Route) -> list[Claimed]:
    """Renders the payloads of marked people in `claimed` again, within the claim's transaction, and those that the format holds
    back, since its needs may have changed in the configuration."""
    untried = [delivery for delivery in claimed if not delivery.attempts]
    held = [
        delivery.id
        for delivery in untried
        if route.format.holds_back and route.format.not_sent(delivery.kind, delivery.payload)
    ]
    marked: dict[int, tuple[int, int]] = {}
    if untried and tx.run("SELECT 1 FROM stale_payloads LIMIT 1").first() is not None:
        joined = " JOIN stale_payloads s ON s.person_id = d.person_id"
        marked = _rows_of(tx, [delivery.id for delivery in untried], joined)
    rows = _rows_of(tx, held) | marked
    if not rows:
        return list(claimed)
    snapshot = Snapshot(tx, [route])
    snapshot.load_conversions([conversion_id for conversion_id, _ in rows.values()])
    fresh = {}
    for identity, (conversion_id, person_id) in sorted(rows.items()):
        conversion = snapshot.conversions[conversion_id]
        conversion.person = snapshot.person(person_id)
        fresh[identity] = (*snapshot.render(conversion, route), conversion.dedupe_key)
    statement = "UPDATE deliveries SET payload = ?, omitted = ?, dedupe_key = ? WHERE id = ?"
    tx.run_many(statement, [(*rendered, identity) for identity, rendered in fresh.items()])
    for person_id in sorted({person_id for _, person_id in marked.values()}):
        tx.run(
            "DELETE FROM stale_payloads WHERE person_id = ? AND NOT EXISTS ("
            f"SELECT 1 FROM deliveries d WHERE d.person_id = ? AND {_WAITING})",
            *(person_id, person_id),
        )
    return [
        replace(delivery, payload=fresh[delivery.id][0], dedupe_key=fresh[delivery.id][2])
        if delivery.id in fresh
        else delivery
        for delivery in claimed
    ]


def _rows_of(tx: Tx, ids: Sequence[int], joined: str = "") -> dict[int, tuple[int, int]]:
    """(conversion, person) of these deliveries, by their ids."""
    if not ids:
        return {}
    condition, value = tx.among("d.id", list(ids))
    rows = tx.run(f"SELECT d.id, d.conversion_id, d.person_id FROM deliveries d{joined} WHERE {condition}", value).all()
    return {int(identity): (conversion_id, person_id) for identity, conversion_id, person_id in rows}
