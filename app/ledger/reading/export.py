"""Everything that is kept about a person, as plain data."""

import json
from collections.abc import Sequence
from typing import Any

from app import times
from app.ledger.actions.forget import events_about, held_about
from app.ledger.audit import audit, note
from app.ledger.engine import Ledger, look
from app.ledger.inbound.quarantine import one_held
from app.ledger.reading.deliveries import delivery
from app.ledger.reading.events import event
from app.ledger.reading.money.marks import adjustments
from app.ledger.reading.persons import person
from app.ledger.transaction import Tx

MOST_LINES = 1000
"""Of the audit log, per subject."""


def export_person(ledger: Ledger, person_id: int, *, actor: str) -> dict[str, Any] | None:
    """Everything about one person: profile, identifiers, events, conversions, deliveries with their attempts. None if the person
    does not exist.

    mentioned_in: the IDs of other people's events that name this person, without their content. The export is recorded in the
    audit log.
    """
    with look(ledger) as tx:
        if person(tx, person_id) is None:
            return None
    named, held = events_about(ledger, person_id, ()), held_about(ledger, person_id, ())
    with look(ledger) as tx:
        document = {"person": person(tx, person_id), **_rows_of(tx, person_id), **_events(tx, named, person_id)}
        document["quarantined"] = _quarantined(tx, held)
    ledger.transact(lambda tx: note(tx, actor, "export", f"person {person_id}"))
    return document


def export_name(ledger: Ledger, name: str, *, actor: str) -> dict[str, Any] | None:
    """The same for someone named only by parked or ignored events; None if no event names them."""
    named, held = events_about(ledger, None, (name,)), held_about(ledger, None, (name,))
    if not named and not held:
        return None
    with look(ledger) as tx:
        document = {"person": None, **_events(tx, named, None), "quarantined": _quarantined(tx, held)}
    ledger.transact(
        lambda tx: note(tx, actor, "export", "events", f"{len(named)} that name somebody who is not a person here")
    )
    return document


def _quarantined(tx: Tx, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Quarantined requests that name this person. They are unverified, so anyone may have made them up."""
    rows = [row for identity in ids if (row := one_held(tx, identity)) is not None]
    return [{**held.as_json(), "body": content.body.decode("utf-8", "replace")} for held, content in rows]


def _rows_of(tx: Tx, person_id: int) -> dict[str, Any]:
    conversions = _conversions(tx, person_id)
    ids = list(tx.run("SELECT id FROM deliveries WHERE person_id = ? ORDER BY id", person_id).scalars())
    subjects = [f"person {person_id}", *(f"delivery {identity}" for identity in ids)]
    lines = [line for subject in subjects for line in audit(tx, subject=subject, limit=MOST_LINES)]
    merged = tx.run("SELECT id FROM persons WHERE merged_into = ? ORDER BY id", person_id).scalars()
    conflicts = tx.run(
        "SELECT at, event_id, conversion_id, reason FROM conflicts WHERE person_id = ? ORDER BY id", person_id
    )
    return {
        "merged_persons": list(merged),
        "conversions": conversions,
        "refunds_and_disputes": [
            {
                "conversion_id": adjustment.conversion_id,
                "reference": adjustment.reference,
                "kind": adjustment.kind,
                "status": adjustment.status,
                "amount_minor": adjustment.minor,
                "currency": adjustment.currency,
                "at": times.iso(adjustment.at),
            }
            for adjustment in adjustments(tx, [adjustment["id"] for adjustment in conversions])
        ],
        "deliveries": [
            {k: v for k, v in delivery(tx, delivery_id).items() if k not in ("events", "marks")} for delivery_id in ids
        ],
        "sandbox_requests": _sandbox_requests(tx, person_id),
        "conflicts": [
            {"at": times.iso(detected_at), "event": event_id, "conversion_id": conversion, "reason": reason}
            for detected_at, event_id, conversion, reason in conflicts.all()
        ],
        "audit": sorted(lines, key=lambda line: int(line["id"])),
    }


def _conversions(tx: Tx, person_id: int) -> list[dict[str, Any]]:
    names = ("id", "state", "kind", "source", "dedupe_key", "event_id", "occurred_at", "created_at", "facts")
    rows = tx.run(f"SELECT {', '.join(names)} FROM conversions WHERE person_id = ? ORDER BY id", person_id).all()
    conversions = [dict(zip(names, row, strict=True)) for row in rows]
    condition, value = tx.among("conversion_id", [conversion["id"] for conversion in conversions])
    keys: dict[int, list[str]] = {}
    for conversion_id, key in tx.run(
        f"SELECT conversion_id, key FROM dedupe_keys WHERE {condition} ORDER BY key", value
    ).all():
        keys.setdefault(conversion_id, []).append(key)
    for conversion in conversions:
        conversion["event"] = conversion.pop("event_id")
        conversion["occurred_at"], conversion["created_at"] = (
            times.iso(conversion["occurred_at"]),
            times.iso(conversion["created_at"]),
        )
        conversion["dedupe_keys"], conversion["facts"] = keys.get(conversion["id"], []), json.loads(conversion["facts"])
    return conversions


def _sandbox_requests(tx: Tx, person_id: int) -> list[dict[str, Any]]:
    rows = tx.run(
        "SELECT received_at, kind, idempotency_key, problem, body FROM sandbox_requests WHERE idempotency_key IN"
        " (SELECT dedupe_key FROM deliveries WHERE person_id = ?) ORDER BY id",
        person_id,
    ).all()
    names = ("received_at", "kind", "idempotency_key", "problem", "body")
    return [dict(zip(names, row, strict=True)) | {"received_at": times.iso(row[0])} for row in rows]


def _events(tx: Tx, ids: Sequence[int], person_id: int | None) -> dict[str, Any]:
    condition, value = tx.among("e.id", ids)
    owners = dict(
        tx.run(
            "SELECT e.id, COALESCE(c.person_id, e.person_id) FROM events e LEFT JOIN conversions c ON c.id = e.conversion_id"
            f" WHERE {condition}",
            value,
        ).all()
    )
    own = [identity for identity, owner in sorted(owners.items()) if owner is None or owner == person_id]
    whole = [shown for shown in (event(tx, identity) for identity in own) if shown is not None]
    for shown in whole:
        facts = tx.run(
            "SELECT kind, value, given FROM event_facts WHERE event_id = ? ORDER BY kind, value", shown["id"]
        )
        shown["facts"] = [{"kind": kind, "value": original or text} for kind, text, original in facts.all()]
        shown["deliveries"] = [each["id"] for each in shown["deliveries"]]
    return {"events": whole, "mentioned_in": sorted(set(owners) - set(own))}
