"""Sends unattributed conversions again once a click ID of their person, or another missing fact, is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_json

from app.ledger.forwarding.refunds import refunded
from app.ledger.recording.arrival import Conversion, Route
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.payload import click_ids_of
from app.ledger.recording.refunds.sent import LOWERED
from app.ledger.transaction import Tx
from app.persons import Person

# Not by hand, which an attempt at the beginning of its schedule would be taken for.
_REOPEN = (
    "UPDATE deliveries SET payload = ?, omitted = ?, status = 'pending', due_at = ?,"
    " schedule_start = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE id = ?"
)


def reopen(snapshot: Snapshot, changed: Sequence[Person], touched: Sequence[Person]) -> None:
    """Makes unattributed deliveries due again if a click ID was learned that they were not sent with, or a fact whose absence kept
    them from being sent.

    changed: persons about whom something was learned; touched: those whose payloads look different.
    """
    clicked = {p.survivor().id for p in changed if _learned(snapshot, p.survivor())}
    if any(route.format.holds_back for route in snapshot.routes):
        clicked |= {p.survivor().id for p in touched}
    person_ids = sorted(clicked - {p.id for p in snapshot.new_persons})
    if not person_ids:
        return
    condition, parameter = snapshot.tx.among("person_id", person_ids)
    changes = []
    for unattributed in _unattributed(snapshot, condition, parameter):
        assert unattributed.conversion.person is not None
        fresh = _learned(snapshot, unattributed.conversion.person)
        changes.append((unattributed, _payload_of(snapshot, unattributed, fresh, may_swap=True)))
    _make_due(snapshot, changes)


def reopen_attempted(tx: Tx, delivery_ids: Sequence[int], route: Route) -> None:
    """The same for deliveries whose first attempt found them unattributed just now: a click id may have been learned of their
    persons while it was under way. Within the transaction that records the outcome."""
    if not delivery_ids:
        return
    snapshot = Snapshot(tx, [route])
    snapshot.now = tx.now()
    condition, parameter = tx.among("id", sorted(delivery_ids))
    if not tx.is_sqlite:  # so that nobody learns something between this look and the end of this transaction
        persons = f"SELECT person_id FROM deliveries WHERE {condition}"
        tx.run(f"SELECT 1 FROM persons WHERE id IN ({persons}) ORDER BY id FOR UPDATE", parameter)
    changes = []
    for unattributed in _unattributed(snapshot, f"{condition} AND attempts = 1", parameter):
        assert unattributed.conversion.person is not None
        known = click_ids_of(unattributed.conversion.person)
        changes.append((unattributed, _payload_of(snapshot, unattributed, known, may_swap=False)))
    _make_due(snapshot, changes)


@dataclass(frozen=True, slots=True)
class _Unattributed:
    id: int
    conversion: Conversion
    route: Route
    sent: str
    """Its payload."""


def _unattributed(snapshot: Snapshot, condition: str, parameter: Any) -> list[_Unattributed]:
    tx = snapshot.tx
    rows = tx.run(
        "SELECT id, conversion_id, person_id, destination, payload FROM deliveries"
        f" WHERE {condition} AND status = 'unattributed' AND kind <> 'refund' AND claim IS NULL ORDER BY id{tx.for_update}",
        parameter,
    ).all()
    snapshot.load_conversions([row[1] for row in rows])
    routes = {route.name: route for route in snapshot.routes}
    sale_ids = sorted({row[1] for row in rows})
    back = refunded(tx, sale_ids)
    lowered = _lowered(tx, list(back))
    unattributed = []
    for identity, conversion_id, person_id, destination, payload in rows:
        conversion = snapshot.conversions[conversion_id]
        conversion.person = snapshot.person(person_id).survivor()
        sale = conversion.facts["sale"]
        if sale and back.get(conversion_id, 0) >= sale["minor"]:
            continue  # it is not sent before its money comes back
        if conversion_id in back:  # what came back after an attempt has a delivery of its own
            covered = lowered.get((conversion_id, destination), 0)
            conversion = replace(conversion, facts={**conversion.facts, "refunded": covered})
        if destination in routes:
            unattributed.append(_Unattributed(identity, conversion, routes[destination], payload))
    return unattributed


def _lowered(tx: Tx, sale_ids: Sequence[int]) -> dict[tuple[int, str], int]:
    """By how much of what was refunded of these Sales they are lowered at each destination, in minor units."""
    if not sale_ids:
        return {}
    condition, value = tx.among("r.sale_id", sale_ids)
    rows = tx.run(
        "SELECT r.sale_id, d.destination, SUM(r.minor) FROM refunds r JOIN deliveries d ON d.conversion_id = r.conversion_id"
        f" WHERE d.status = 'discarded' AND d.last_error = ? AND r.is_dropped = 0 AND {condition}"
        " GROUP BY r.sale_id, d.destination",
        *(LOWERED, value),
    ).all()
    return {(sale_id, destination): int(minor) for sale_id, destination, minor in rows}


def _learned(snapshot: Snapshot, person: Person) -> frozenset[str]:
    """Click IDs of a person that this group learned."""
    return click_ids_of(person) - snapshot.clicked.get(person.id, frozenset())


def _payload_of(
    snapshot: Snapshot, delivery: _Unattributed, clicks: frozenset[str], *, may_swap: bool
) -> tuple[str, str | None] | None:
    """The payload to send now, with its omissions; None if it says nothing new. clicks: the new ones.

    may_swap: send the other click if the destination does not know that of its touch.
    """
    kind = delivery.conversion.kind
    rendered = snapshot.render(delivery.conversion, delivery.route)
    if delivery.route.format.not_sent(kind, delivery.sent) is not None:
        return rendered if delivery.route.format.not_sent(kind, rendered[0]) is None else None
    new = [text for text in (to_json(click).decode()[1:-1] for click in clicks) if text not in delivery.sent]
    if any(click in rendered[0] for click in new):
        return rendered
    swapped = snapshot.render(delivery.conversion, delivery.route, other_touch=True) if may_swap and new else None
    return swapped if swapped and any(click in swapped[0] for click in new) else None


def _make_due(snapshot: Snapshot, changes: Sequence[tuple[_Unattributed, tuple[str, str | None] | None]]) -> None:
    snapshot.tx.run_many(
        _REOPEN, [(*rendered, snapshot.now, delivery.id) for delivery, rendered in changes if rendered]
    )
