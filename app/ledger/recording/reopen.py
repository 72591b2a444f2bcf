"""Sends unattributed conversions again once a click ID of their person, or another missing fact, is known."""

from pydantic_core import to_json

from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.payload import click_of, clicks_of
from app.model import Kind
from app.persons import Person

# Not by hand, which an attempt at the beginning of its schedule would be taken for.
_REOPEN = (
    "UPDATE deliveries SET payload = ?, omitted = ?, status = 'pending', due_at = ?,"
    " schedule_start = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE id = ?"
)


def reopen(snapshot: Snapshot, touched: list[Person]) -> None:
    """Makes unattributed deliveries due again if a click ID that was not sent is now known, or a fact whose absence kept them
    from being sent."""
    persons = [p.survivor() for p in touched]
    any_fact = any(route.format.holds_back for route in snapshot.routes)
    person_ids = sorted(
        {p.id for p in persons if not p.is_new and (any_fact or p.click_first or p.click_last or p.clicks)}
    )
    if not person_ids:
        return
    tx = snapshot.tx
    condition, parameter = tx.among("person_id", person_ids)
    lock = tx.for_update
    rows = tx.run(
        "SELECT id, conversion_id, person_id, destination, payload FROM deliveries"
        f" WHERE {condition} AND status = 'unattributed' AND kind <> 'refund' AND claim IS NULL ORDER BY id{lock}",
        parameter,
    ).all()
    snapshot.load_conversions([row[1] for row in rows])
    routes = {route.name: route for route in snapshot.routes}
    changes = []
    for identity, conversion_id, person_id, destination, payload in rows:
        conversion = snapshot.conversions[conversion_id]
        conversion.person = snapshot.person(person_id).survivor()
        route = routes.get(destination)
        if route is None:
            continue
        first_touch = snapshot.is_first_touch(route)
        clicks = [click_of(conversion, first_touch=first_touch)]
        clicks += [seen.value for seen in clicks_of(conversion, first_touch=first_touch).values()]
        text, omitted = snapshot.render(conversion, route)
        kind: Kind = "lead" if conversion.kind == "lead" else "sale"
        lacked = route.format.not_sent(kind, payload) is not None
        if lacked and route.format.not_sent(kind, text) is not None:
            continue
        texts = [to_json(click).decode() for click in clicks if click is not None]
        if not lacked and not any(one in text and one not in payload for one in texts):
            continue
        changes.append((text, omitted, snapshot.now, identity))
    tx.run_many(_REOPEN, changes)
