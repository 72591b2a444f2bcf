"""Replaying and discarding many deliveries at once, a batch to a transaction, and taking a discard back.

Every delivery gets its own line in the audit log. Those of one bulk discard carry its mark, by which it can be undone.
"""

import secrets
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from app.errors import DeliveryNotFound
from app.ledger import tables
from app.ledger.claims import let_go
from app.ledger.engine import Ledger
from app.ledger.mending import BLANK_PAYLOAD, Mended, note

Verb = Literal["replay", "discard"]
_NOTE = ("at", "actor", "action", "subject", "detail")


def mend(
    ledger: Ledger, connection: Connection, ids: Sequence[int], verb: Verb, *, actor: str, mark: str = ""
) -> list[int]:
    """Replays or discards those of `ids` that may be; returns which. What is sent just now, delivered or forgotten is left alone.

    mark: names the bulk discard in the audit log. Doing it twice is harmless.
    """
    condition, value = ledger.among("id", sorted(ids))
    states = "'dead', 'retrying', 'pending', 'discarded'" if verb == "replay" else "'dead', 'retrying', 'pending'"
    lock = "" if ledger.is_sqlite else " FOR UPDATE"
    rows = ledger.run(
        connection,
        f"SELECT id, status FROM deliveries WHERE {condition} AND claim IS NULL AND status IN ({states})"
        f" AND payload <> ? ORDER BY id{lock}",
        value,
        BLANK_PAYLOAD,
    ).all()
    now = ledger.now(connection)
    if verb == "replay":
        open_ones = [(now, identity) for identity, status in rows if status in ("pending", "retrying")]
        closed = [(now, identity) for identity, status in rows if status in ("dead", "discarded")]
        ledger.run_many(connection, "UPDATE deliveries SET due_at = ?, held = 0 WHERE id = ?", open_ones)
        ledger.run_many(
            connection,
            "UPDATE deliveries SET status = 'pending', due_at = ?, held = 0, schedule_start = attempts, delivered_at = NULL"
            " WHERE id = ?",
            closed,
        )
    else:
        statement = "UPDATE deliveries SET status = 'discarded', due_at = NULL, held = 0 WHERE id = ?"
        ledger.run_many(connection, statement, [(identity,) for identity, _ in rows])
        let_go(ledger, connection, [identity for identity, _ in rows], now=now)
    tail = f"; {mark}" if mark else ""
    notes = [(now, actor, verb, f"delivery {identity}", f"was {status}{tail}") for identity, status in rows]
    ledger.insert(connection, tables.audit, _NOTE, notes)
    return [identity for identity, _ in rows]


def undo_discard(ledger: Ledger, connection: Connection, delivery_id: int, *, actor: str) -> Mended:
    """Makes a discarded delivery what it was: dead, or open and due now. Left alone where it is discarded no longer.

    Raises DeliveryNotFound.
    """
    lock = "" if ledger.is_sqlite else " FOR UPDATE"
    if delivery_id > tables.LARGEST_ID:
        raise DeliveryNotFound(delivery_id)
    row = ledger.run(connection, f"SELECT status, payload FROM deliveries WHERE id = ?{lock}", delivery_id).first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    status, payload = row
    was = _status_before(ledger, connection, delivery_id)
    if status != "discarded" or was is None:
        return Mended(delivery_id, False, f"it is {status}: left alone")
    if payload == BLANK_PAYLOAD:
        return Mended(delivery_id, False, "its person was forgotten, so there is nothing left to send: left alone")
    due_at = None if was == "dead" else ledger.now(connection)
    statement = "UPDATE deliveries SET status = ?, due_at = ? WHERE id = ?"
    ledger.run(connection, statement, was, due_at, delivery_id)
    note(ledger, connection, actor, "undo discard", f"delivery {delivery_id}", f"is {was} again")
    return Mended(delivery_id, True, f"it is {was} again")


def new_mark(ledger: Ledger, connection: Connection) -> str:
    """A name for a bulk discard that begins now: the newest line of the audit log, after which its lines are, and chance."""
    line = ledger.run(connection, "SELECT COALESCE(MAX(id), 0) FROM audit").scalar_one()
    return f"{line}-{secrets.token_hex(4)}"


def marked(ledger: Ledger, connection: Connection, mark: str, *, after: int, limit: int) -> list[tuple[int, int]]:
    """What the bulk discard `mark` discarded: (line of the audit log, delivery), in order, lines from `after` on."""
    rows = ledger.run(
        connection,
        "SELECT id, subject FROM audit WHERE id > ? AND action = 'discard' AND detail LIKE ? ORDER BY id LIMIT ?",
        max(after, int(mark.split("-", 1)[0])),
        f"%; {mark}",
        limit,
    ).all()
    return [(line, int(subject.removeprefix("delivery "))) for line, subject in rows]


def _status_before(ledger: Ledger, connection: Connection, delivery_id: int) -> str | None:
    """What a delivery was before it was last discarded; None where nobody discarded it by hand."""
    detail = ledger.run(
        connection,
        "SELECT detail FROM audit WHERE subject = ? AND action = 'discard' ORDER BY id DESC LIMIT 1",
        f"delivery {delivery_id}",
    ).scalar()
    was = str(detail or "").removeprefix("was ").split(";")[0]
    return was if was in ("dead", "retrying", "pending") else None
