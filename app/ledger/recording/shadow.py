"""Deliveries in shadow mode: what would be sent is recorded and kept up to date, but never sent."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from app.destinations.formats.base import Format
from app.ledger.recording.arrival import Conversion, Route
from app.ledger.recording.known.snapshot import Snapshot
from app.persons import Person

SETTLES_MS = 120_000
"""For so long a payload follows what is learned of its person: longer than any usual hold."""
MOST = 100
_COLUMNS = "id, conversion_id, person_id, destination"


def shadow_row(row: dict[str, Any], snapshot: Snapshot, conversion: Conversion, route: Route) -> dict[str, Any]:
    """The shadow row for a delivery that would be `row` if the destination were live."""
    wait_ms = (conversion.deliver_at or 0) - snapshot.now
    return row | {
        "status": "shadow",
        "due_at": None,
        "held": 0,
        "note": f"would wait up to {wait_ms / 1000:g} s for an event that names its person" if wait_ms > 0 else None,
        "last_error": why_refused(route.format, conversion, row["payload"]),
    }


def why_refused(wire: Format, conversion: Conversion, payload: str) -> str | None:
    """Why the destination would not get or not take this; None if it would."""
    if (verdict := wire.not_sent(conversion.kind, payload)) is not None:
        return verdict.error
    problem = wire.problem(conversion.kind, from_json(payload))
    return f"the destination would refuse it: {problem}" if problem else None


def render_shadows(snapshot: Snapshot, touched: Sequence[Person]) -> None:
    """Shows what was learned in what was recorded lately, and in what would not have been sent for want of it."""
    routes = {route.name: route for route in snapshot.routes if route.is_shadow}
    person_ids = sorted({p.survivor().id for p in touched if not p.is_new})
    conversion_ids = sorted(c.id for c in snapshot.claimed if not c.is_new)
    if not routes or not (person_ids or conversion_ids):
        return
    tx = snapshot.tx
    condition, value = tx.among("person_id", person_ids)
    or_condition, or_value = tx.among("conversion_id", conversion_ids)
    rows = tx.run(
        f"SELECT {_COLUMNS} FROM deliveries WHERE {condition} AND status = 'shadow'"
        f" AND (created_at >= ? OR last_error IS NOT NULL)"
        f" UNION SELECT {_COLUMNS} FROM deliveries WHERE {or_condition} AND status = 'shadow' ORDER BY id LIMIT {MOST}",
        *(value, snapshot.now - SETTLES_MS, or_value),
    ).all()
    snapshot.load_conversions([row[1] for row in rows])
    changes = []
    for identity, conversion_id, person_id, destination in rows:
        if (route := routes.get(destination)) is not None:
            conversion = snapshot.conversions[conversion_id]
            conversion.person = snapshot.person(person_id).survivor()
            payload, omitted = snapshot.render(conversion, route)
            refused = why_refused(route.format, conversion, payload)
            changes.append((payload, omitted, conversion.dedupe_key, refused, identity))
    statement = "UPDATE deliveries SET payload = ?, omitted = ?, dedupe_key = ?, last_error = ? WHERE id = ?"
    tx.run_many(statement, changes)
