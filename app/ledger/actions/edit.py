"""Edits the payload of a dead delivery and sends it under a new Idempotency-Key (`…:edit-N`)."""

import json
import re
from dataclasses import dataclass
from typing import Any

from app.destinations.formats.base import Format
from app.errors import DeliveryNotFound
from app.ledger import tables
from app.ledger.actions.replay import BLANK_PAYLOAD, ActionResult
from app.ledger.audit import note
from app.ledger.engine import Ledger, look
from app.ledger.transaction import Tx

LONGEST_PAYLOAD = 256 * 1024
_EDIT = re.compile(r"^((?:lead|sale|refund):[^:]+:.+):edit-([0-9]+)$", re.DOTALL)


def is_edited(dedupe_key: str) -> bool:
    """Whether a delivery's payload was edited. A 409 is then not a success: the destination has the earlier payload."""
    return _EDIT.match(dedupe_key) is not None


def why_not_editable(tx: Tx, delivery: dict[str, Any]) -> str | None:
    """Why this delivery (from reading.deliveries.delivery) cannot be edited; None if it can."""
    if delivery["status"] != "dead":
        return f"it is {delivery['status']}; only a dead delivery can be edited"
    if delivery["sending"]:
        return "it is being sent"
    if delivery["payload"].get("forgotten"):
        return "its person was forgotten"
    statement = "SELECT 1 FROM attempts WHERE delivery_id = ? AND result = 'unknown' LIMIT 1"
    if tx.run(statement, delivery["id"]).first() is not None:
        return "an attempt ended unknown, so the destination may have it: another body could count it twice"
    return None


def problem_of(wire: Format | None, delivery: dict[str, Any], text: str) -> str | None:
    """What is wrong with an edited payload in its destination's format; None if it can be sent.

    wire: None if the destination is no longer configured, so its format is unknown.
    """
    before = delivery["payload"]
    if len(text) > LONGEST_PAYLOAD:
        return f"the payload is longer than {LONGEST_PAYLOAD // 1024} KiB"
    try:
        after = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"the payload is not valid JSON: {error}"
    if not isinstance(after, dict):
        return "the payload must be a JSON object"
    try:
        json.dumps(after, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return "the payload has a value that JSON cannot carry: NaN, Infinity or half of a surrogate pair"
    if wire is not None and (problem := wire.edit_problem(delivery["kind"], before, after)):
        return problem
    return "nothing was changed" if after == before else None


def edit(tx: Tx, delivery: dict[str, Any], text: str, *, actor: str) -> ActionResult:
    """Replaces the payload with `text` (checked by problem_of) and makes the delivery due under the next edit's key.

    The audit log records who, when and which fields, but no values, which may be personal data. Raises DeliveryNotFound.
    """
    identity, lock = delivery["id"], tx.for_update
    statement = f"SELECT status, claim, dedupe_key, payload FROM deliveries WHERE id = ?{lock}"
    row = tx.run(statement, identity).first() if identity <= tables.LARGEST_ID else None
    if row is None:
        raise DeliveryNotFound(identity)
    status, claim, key, kept = row
    reason = why_not_editable(tx, delivery | {"status": status, "sending": claim is not None})
    if reason is not None or kept == BLANK_PAYLOAD:
        return ActionResult(identity, False, f"{reason or 'its person was forgotten'}: skipped")
    before, after = json.loads(kept), json.loads(text)
    earlier = _EDIT.match(key)
    first, number = (earlier.group(1), int(earlier.group(2)) + 1) if earlier else (key, 1)
    payload = json.dumps(after, ensure_ascii=False, separators=(",", ":"))
    tx.run(
        "UPDATE deliveries SET payload = ?, omitted = NULL, dedupe_key = ?, status = 'pending', due_at = ?, held = 0,"
        " schedule_start = attempts WHERE id = ?",
        payload,
        f"{first}:edit-{number}",
        tx.now(),
        identity,
    )
    fields = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    note(tx, actor, "edit", f"delivery {identity}", f"edit {number}: {', '.join(fields)}"[:500])
    return ActionResult(identity, True, f"it goes out as edited, under the Idempotency-Key of edit {number}")


@dataclass(frozen=True, slots=True)
class Edited:
    """The result of an edit. problem: what is wrong with the new payload; if set, nothing was changed."""

    result: ActionResult
    problem: str | None = None


def review_edit(
    ledger: Ledger, delivery: dict[str, Any], text: str, wire: Format | None
) -> tuple[list[dict[str, Any]], str | None]:
    """What an edit would change, as {name, before, after} by field, and what is wrong with it, by the checks of submit_edit.
    Nothing is changed."""
    with look(ledger) as tx:
        problem = why_not_editable(tx, delivery) or problem_of(wire, delivery, text)
    if problem:
        return [], problem
    before, after = delivery["payload"], json.loads(text)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [{"name": name, "before": before.get(name), "after": after.get(name)} for name in names], None


def submit_edit(ledger: Ledger, delivery: dict[str, Any], text: str, wire: Format | None, *, actor: str) -> Edited:
    """Checks `text` and sends the delivery (from reading.deliveries.delivery) with it, if it can be edited. wire: as in
    problem_of."""
    with look(ledger) as tx:
        reason = why_not_editable(tx, delivery)
    problem = None if reason else problem_of(wire, delivery, text)
    if problem:
        return Edited(ActionResult(delivery["id"], False, problem), problem)
    return Edited(ledger.transact(lambda tx: edit(tx, delivery, text, actor=actor)))
