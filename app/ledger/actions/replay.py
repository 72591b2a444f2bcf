"""Replays and discards deliveries, and records in the audit log who did it."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic_core import from_json

from app.errors import DeliveryNotFound
from app.ledger import tables
from app.ledger.audit import note
from app.ledger.forwarding.claims import unblock_sales
from app.ledger.forwarding.refunds import refunded, reopen_refunds
from app.ledger.transaction import Tx

Verb = Literal["replay", "discard", "resend"]
"""resend: replay what was delivered."""

_NOTE = ("at", "actor", "action", "subject", "detail", "part_of")

MARK = re.compile(r"[0-9]{1,18}-[0-9a-f]{8}")
"""The form of `new_mark`. A mark names a bulk discard, so that all of it can be undone."""
REPLAYABLE = ("dead", "discarded", "retrying", "pending", "unattributed")
"""Statuses that can be replayed. A delivered one needs force."""
DISCARDABLE = ("dead", "retrying", "pending", "unattributed")
ALLOWED = {"replay": REPLAYABLE, "discard": DISCARDABLE, "resend": ("delivered",)}
REFUNDED = "it was refunded in full before it was sent"
REFUNDED_SINCE = "it was refunded in full, and its destination has not accepted it"
CLOSED = ("dead", "discarded", "unattributed")
JOINED = "it is one purchase with "
"""How the reason begins for which a rule closed a delivery whose purchase goes out as another one, and may not go twice."""
BLANK_PAYLOAD = '{"forgotten":true,"customerExternalId":""}'
"""The payload after its person was forgotten: nothing is left to send."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of one request, with a message for the person who asked."""

    delivery_id: int
    done: bool
    message: str


def replay(tx: Tx, delivery_id: int, *, actor: str, force: bool = False, group: int | None = None) -> ActionResult:
    """Makes a delivery due now.

    Dead, discarded and unattributed ones become pending with a fresh schedule; a delivered one needs force. One that is being
    sent is skipped. Raises DeliveryNotFound. Safe to repeat.
    """
    status, claim, payload, error = _locked(tx, delivery_id)
    if claim is not None:
        return ActionResult(delivery_id, False, "it is being sent: skipped")
    if payload == BLANK_PAYLOAD:
        return ActionResult(delivery_id, False, "its person was forgotten, so there is nothing left to send: skipped")
    if status == "discarded" and error.startswith(JOINED):
        return ActionResult(delivery_id, False, f"{error}: skipped")
    if status == "discarded" and error == REFUNDED and not force:
        message = f"{error}: skipped; bridge replay --id {delivery_id} --force sends it all the same"
        return ActionResult(delivery_id, False, message)
    if not force and status in CLOSED and delivery_id in _refunded_in_full(tx, [delivery_id]):
        message = f"{REFUNDED_SINCE}: skipped; bridge replay --id {delivery_id} --force sends it all the same"
        return ActionResult(delivery_id, False, message)
    if status == "shadow":
        message = "its destination was in shadow mode: replay it with --to once that is live"
        return ActionResult(delivery_id, False, message)
    if status == "delivered" and not force:
        return ActionResult(delivery_id, False, "it was delivered: use force to send it again")
    now = tx.now()
    if status in ("pending", "retrying"):
        tx.run("UPDATE deliveries SET due_at = ?, held = 0 WHERE id = ?", now, delivery_id)
    else:
        tx.run(
            "UPDATE deliveries SET status = 'pending', due_at = ?, held = 0, schedule_start = attempts, delivered_at = NULL"
            " WHERE id = ?",
            now,
            delivery_id,
        )
        reopen_refunds(tx, [delivery_id], now=now)
        _refresh_when_claimed(tx, [delivery_id])
    note(tx, actor, "replay", f"delivery {delivery_id}", f"was {status}", part_of=group)
    return ActionResult(delivery_id, True, f"it was {status} and is due now")


def discard(tx: Tx, delivery_id: int, *, actor: str) -> ActionResult:
    """Closes a delivery unsent. Idempotent. One that is being sent or delivered is skipped."""
    status, claim, _, _ = _locked(tx, delivery_id)
    if claim is not None:
        return ActionResult(delivery_id, False, "it is being sent: skipped")
    if status in ("delivered", "discarded", "shadow"):
        return ActionResult(delivery_id, False, f"it is {status}: skipped")
    tx.run("UPDATE deliveries SET status = 'discarded', due_at = NULL, held = 0 WHERE id = ?", delivery_id)
    unblock_sales(tx, [delivery_id], now=tx.now())
    note(tx, actor, "discard", f"delivery {delivery_id}", f"was {status}")
    return ActionResult(delivery_id, True, f"it was {status} and is discarded")


def _locked(tx: Tx, delivery_id: int) -> tuple[str, str | None, str, str]:
    """Locks a delivery for this transaction and returns its status, claim, payload and last error. Raises DeliveryNotFound."""
    if delivery_id > tables.LARGEST_ID:
        raise DeliveryNotFound(delivery_id)
    statement = f"SELECT status, claim, payload, last_error FROM deliveries WHERE id = ?{tx.for_update}"
    row = tx.run(statement, delivery_id).first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    return row[0], row[1], row[2], row[3] or ""


def withdraw(tx: Tx, conversion_id: int, reason: str, *, tried: int | None = None) -> None:
    """Discards what of a conversion was not tried yet; `tried`: only where that other conversion was. Idempotent."""
    where, values = "", []
    if tried is not None:
        where = (
            " AND destination IN (SELECT destination FROM deliveries WHERE conversion_id = ?"
            " AND (attempts > 0 OR claim IS NOT NULL))"
        )
        values.append(tried)
    rows = tx.run(
        "UPDATE deliveries SET last_error = ?"
        f" WHERE conversion_id = ? AND due_at IS NOT NULL AND attempts = 0 AND claim IS NULL{where} RETURNING id",
        reason,
        conversion_id,
        *values,
    )
    if ids := rows.scalars().all():
        apply_to(tx, ids, "discard", actor="bridge")
    statement = (
        "UPDATE deliveries SET status = 'discarded', last_error = ? WHERE conversion_id = ? AND status = 'shadow'"
    )
    if tried is None:
        tx.run(statement, reason, conversion_id)


def apply_to(
    tx: Tx, ids: Sequence[int], verb: Verb, *, actor: str, mark: str = "", group: int | None = None
) -> list[int]:
    """Replays, resends or discards the deliveries that allow it, and returns their IDs. Those being sent or forgotten, those that a
    rule closed because their purchase goes out as another one or was refunded, and those of another status, are skipped.

    mark: names the bulk discard in the audit log; group: the line there that its lines belong to. Safe to repeat.
    """
    condition, value = tx.among("id", sorted(ids))
    states = ", ".join(f"'{status}'" for status in ALLOWED[verb])
    lock = tx.for_update
    rows = tx.run(
        f"SELECT id, status FROM deliveries WHERE {condition} AND claim IS NULL AND status IN ({states})"
        " AND NOT (status = 'discarded' AND (COALESCE(last_error, '') LIKE ? OR COALESCE(last_error, '') = ?))"
        f" AND payload <> ? ORDER BY id{lock}",
        value,
        f"{JOINED}%",
        REFUNDED,
        BLANK_PAYLOAD,
    ).all()
    if verb == "replay" and (back := _refunded_in_full(tx, [row[0] for row in rows if row[1] in CLOSED])):
        rows = [row for row in rows if row[0] not in back]
    now = tx.now()
    if verb != "discard":
        open_ones = [(now, identity) for identity, status in rows if status in ("pending", "retrying")]
        closed = [(now, identity) for identity, status in rows if status not in ("pending", "retrying")]
        tx.run_many("UPDATE deliveries SET due_at = ?, held = 0 WHERE id = ?", open_ones)
        tx.run_many(
            "UPDATE deliveries SET status = 'pending', due_at = ?, held = 0, schedule_start = attempts, delivered_at = NULL"
            " WHERE id = ?",
            closed,
        )
        reopen_refunds(tx, [identity for _, identity in closed], now=now)
        _refresh_when_claimed(tx, [identity for _, identity in closed])
    else:
        statement = "UPDATE deliveries SET status = 'discarded', due_at = NULL, held = 0 WHERE id = ?"
        tx.run_many(statement, [(identity,) for identity, _ in rows])
        unblock_sales(tx, [identity for identity, _ in rows], now=now)
    tail = f"; {mark}" if mark else ""
    action = "discard" if verb == "discard" else "replay"
    notes = [(now, actor, action, f"delivery {identity}", f"was {status}{tail}", group) for identity, status in rows]
    tx.insert(tables.audit, _NOTE, notes)
    return [identity for identity, _ in rows]


def _refunded_in_full(tx: Tx, ids: Sequence[int]) -> set[int]:
    """Which of these are of Sales whose money went back, and that their destination certainly does not have."""
    if not ids:
        return set()
    condition, value = tx.among("d.id", list(ids))
    rows = tx.run(
        "SELECT d.id, c.id, c.facts FROM deliveries d JOIN conversions c ON c.id = d.conversion_id"
        f" WHERE {condition} AND d.kind = 'sale' AND EXISTS (SELECT 1 FROM refunds r WHERE r.sale_id = c.id)"
        " AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id AND a.result IN ('unknown', 'delivered'))",
        value,
    ).all()
    back = refunded(tx, [sale_id for _, sale_id, _ in rows])
    return {
        identity
        for identity, sale_id, facts in rows
        if sale_id in back and back[sale_id] >= (from_json(facts).get("sale") or {}).get("minor", 0)
    }


def undo_discard(tx: Tx, delivery_id: int, *, actor: str, group: int | None = None) -> ActionResult:
    """Undoes a discard: the delivery is dead again, or open and due now. Skipped if it is no longer discarded.

    Raises DeliveryNotFound.
    """
    status, _, payload, error = _locked(tx, delivery_id)
    was = _status_before(tx, delivery_id)
    if status != "discarded" or was is None:
        return ActionResult(delivery_id, False, f"it is {status}: skipped")
    if payload == BLANK_PAYLOAD:
        return ActionResult(delivery_id, False, "its person was forgotten, so there is nothing left to send: skipped")
    if error.startswith(JOINED):
        return ActionResult(delivery_id, False, f"{error}: skipped")
    if was not in CLOSED and delivery_id in _refunded_in_full(tx, [delivery_id]):
        return ActionResult(delivery_id, False, f"{REFUNDED_SINCE}: skipped")
    now = tx.now()
    due_at = None if was in ("dead", "unattributed") else now
    statement = "UPDATE deliveries SET status = ?, due_at = ? WHERE id = ?"
    tx.run(statement, was, due_at, delivery_id)
    reopen_refunds(tx, [delivery_id], now=now)
    _refresh_when_claimed(tx, [delivery_id])
    note(tx, actor, "undo discard", f"delivery {delivery_id}", f"is {was} again", part_of=group)
    return ActionResult(delivery_id, True, f"it is {was} again")


def _refresh_when_claimed(tx: Tx, ids: Sequence[int]) -> None:
    """Has what was never sent rendered again before it is: what was learned of its person while it was closed is not in it."""
    condition, value = tx.among("id", ids)
    tx.run(
        f"INSERT INTO stale_payloads (person_id) SELECT DISTINCT person_id FROM deliveries WHERE {condition} AND attempts = 0"
        " ON CONFLICT DO NOTHING",
        value,
    )


def new_mark(group: int) -> str:
    """A name for bulk work that begins now: its line in the audit log, and a random part."""
    return f"{group}-{secrets.token_hex(4)}"


def marked(tx: Tx, mark: str, *, after: int, limit: int) -> list[tuple[int, int]]:
    """The deliveries discarded under `mark`, as (audit line, delivery), in order, from line `after` on."""
    rows = tx.run(
        "SELECT id, subject FROM audit WHERE id > ? AND action = 'discard' AND detail LIKE ? AND subject LIKE 'delivery %'"
        " ORDER BY id LIMIT ?",
        max(after, int(mark.split("-", 1)[0])),
        f"%; {mark}",
        limit,
    ).all()
    return [(line, int(subject.removeprefix("delivery "))) for line, subject in rows]


def _status_before(tx: Tx, delivery_id: int) -> str | None:
    """The status before the last manual discard; None if there was none."""
    detail = tx.run(
        "SELECT detail FROM audit WHERE subject = ? AND action = 'discard' ORDER BY id DESC LIMIT 1",
        f"delivery {delivery_id}",
    ).scalar()
    was = str(detail or "").removeprefix("was ").split(";")[0]
    return was if was in ("dead", "retrying", "pending", "unattributed") else None
