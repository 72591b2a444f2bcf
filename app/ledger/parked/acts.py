"""Actions on parked events: keep a value, dismiss, reopen. Every change is in the audit log."""

from collections.abc import Mapping, Sequence

from app.ledger import tables
from app.ledger.audit import note
from app.ledger.inserts import Rows
from app.ledger.transaction import Tx

LOCK = "parked events"
"""Held by everything that reprocesses, fills in or dismisses, so that no event is counted and closed at the same time."""
DISMISSED = "dismissed: "
"""How the reason of a dismissed event begins."""
PERSONAL = ("email", "phone", "name", "customer_id", "click_id")
"""Fields whose values are not written into the audit log."""


def keep(tx: Tx, event_id: int, values: Mapping[str, str | None], *, actor: str) -> None:
    """Stores values for an event; None removes one."""
    for name in sorted(values):
        tx.run("DELETE FROM fill_ins WHERE event_id = ? AND field = ?", event_id, name)
    now = tx.now()
    rows = [
        {"event_id": event_id, "field": name, "value": value, "actor": actor, "at": now}
        for name, value in sorted(values.items())
        if value is not None
    ]
    tx.insert_all([Rows(tables.fill_ins, rows)])
    summary = ", ".join(
        f"{name} removed" if value is None else name if name in PERSONAL else f"{name} = {value}"
        for name, value in sorted(values.items())
    )
    note(tx, actor, "fill in", f"event {event_id}", summary)


def dismiss(tx: Tx, ids: Sequence[int], why: str, *, actor: str) -> list[int]:
    """Closes parked events: they become ignored. Returns those that were parked. Safe to repeat."""
    tx.lock([LOCK])
    condition, value = tx.among("id", list(ids))
    statement = f"SELECT id, reason FROM events WHERE {condition} AND outcome = 'parked' ORDER BY id{tx.for_update}"
    rows = tx.run(statement, value).all()
    now = tx.now()
    closed = [{"event_id": event_id, "reason": reason, "actor": actor, "at": now} for event_id, reason in rows]
    tx.insert_all([Rows(tables.dismissals, closed)])
    tx.run_many(
        "UPDATE events SET outcome = 'ignored', reason = ? WHERE id = ?", [(DISMISSED + why, r[0]) for r in rows]
    )
    for event_id, _ in rows:
        note(tx, actor, "dismiss", f"event {event_id}", why)
    return [row[0] for row in rows]


def reopen(tx: Tx, ids: Sequence[int], *, actor: str) -> list[int]:
    """Undoes dismissals: the events are parked again, with their earlier reason. Returns their IDs. Safe to repeat."""
    tx.lock([LOCK])
    condition, value = tx.among("d.event_id", list(ids))
    rows = tx.run(
        "SELECT d.event_id, d.reason FROM dismissals d JOIN events e ON e.id = d.event_id"
        f" WHERE {condition} AND e.outcome = 'ignored' ORDER BY d.event_id",
        value,
    ).all()
    tx.run_many("UPDATE events SET outcome = 'parked', reason = ? WHERE id = ?", [(row[1], row[0]) for row in rows])
    tx.run_many("DELETE FROM dismissals WHERE event_id = ?", [(row[0],) for row in rows])
    for event_id, _ in rows:
        note(tx, actor, "reopen", f"event {event_id}")
    return [row[0] for row in rows]
