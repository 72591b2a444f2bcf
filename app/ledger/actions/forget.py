"""Erasing a person: identifiers, payloads, bodies and answers are blanked, what is open is discarded.

The dedupe keys stay: they are ids of purchases and submissions, and without them a repeated webhook would be sent again.
A later event of the same human being starts a new person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.actions.replay import BLANK_PAYLOAD
from app.ledger.audit import note
from app.ledger.transaction import Tx
from app.persons import normal_email, normal_phone

BLANK_BODY = b'{"forgotten":true}'


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was erased, and how many deliveries were discarded unsent."""

    person_id: int
    events: int
    deliveries: int
    discarded: int


class BeingSent(Exception):
    """Something of this person is being sent just now: ask again in a minute."""


def persons_called(tx: Tx, name: str) -> Sequence[int]:
    """Ids of the persons with this e-mail, phone, customer id, provider's id (cus_…), or ledger id ("person:12")."""
    if name.startswith("person:") and name[7:].isdigit():
        wanted = [int(name[7:])]
        condition, value = tx.among("id", wanted)
        return list(tx.run(f"SELECT id FROM persons WHERE {condition}", value).scalars())
    values = {name, normal_email(name), normal_phone(name) or name, f"stripe:{name}"}
    condition, value = tx.among("value", sorted(values))
    statement = f"SELECT DISTINCT person_id FROM identifiers WHERE {condition} ORDER BY person_id"
    return list(tx.run(statement, value).scalars())


def forget(tx: Tx, person_id: int, *, actor: str) -> Forgotten:
    """Erases one person. Idempotent. Raises BeingSent while a delivery of theirs is claimed."""
    lock = tx.for_update
    rows = tx.run(f"SELECT id, claim, due_at FROM deliveries WHERE person_id = ?{lock}", person_id).all()
    if any(claim is not None for _, claim, _ in rows):
        raise BeingSent
    discarded = sum(1 for _, _, due_at in rows if due_at is not None)
    tx.run(
        "UPDATE deliveries SET status = 'discarded', due_at = NULL, held = 0 WHERE person_id = ? AND due_at IS NOT NULL",
        person_id,
    )
    tx.run(
        "UPDATE deliveries SET payload = ?, omitted = NULL, note = NULL, last_error = NULL WHERE person_id = ?",
        BLANK_PAYLOAD,
        person_id,
    )
    tx.run(
        "UPDATE attempts SET error = NULL, answer_headers = NULL, answer_body = NULL"
        " WHERE delivery_id IN (SELECT id FROM deliveries WHERE person_id = ?)",
        person_id,
    )
    # Every event of their conversions, also those that named nobody themselves.
    events = tx.run(
        "UPDATE events SET body = ?, headers = '{}' WHERE person_id = ?"
        " OR conversion_id IN (SELECT id FROM conversions WHERE person_id = ?)",
        BLANK_BODY,
        person_id,
        person_id,
    ).rowcount
    blank = '{"click_id":null,"email":null,"name":null,"phone":null,"sale":null,"lead":null}'
    tx.run("UPDATE conversions SET facts = ? WHERE person_id = ?", blank, person_id)
    tx.run("DELETE FROM identifiers WHERE person_id = ?", person_id)
    tx.run("DELETE FROM conflicts WHERE person_id = ?", person_id)
    tx.run(
        "UPDATE persons SET customer_id = NULL, explicit_id = NULL, provider_id = NULL, email = NULL, name = NULL,"
        " phone = NULL, click_first = NULL, click_last = NULL WHERE id = ?",
        person_id,
    )
    note(tx, actor, "forget", f"person {person_id}")
    return Forgotten(person_id, events, len(rows), discarded)
