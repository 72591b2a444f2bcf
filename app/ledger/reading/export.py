"""Everything that is kept about a person, as JSON that is written while it is read: however much there is, little is in memory."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from app import times
from app.ledger.actions.forget import events_about, held_about
from app.ledger.audit import lines_of, note
from app.ledger.engine import Ledger, look
from app.ledger.inbound.quarantine import one_held
from app.ledger.reading.deliveries import attempts_of, waits_for
from app.ledger.reading.money import refunds
from app.ledger.reading.money.marks import adjustments
from app.ledger.reading.persons import person
from app.ledger.reading.rows import DELIVERIES, DELIVERY, EVENT, delivery_row, event_rows
from app.ledger.transaction import Tx

MOST_LINES = 1000
"""Of the audit log, per subject."""
BATCH = 500
BODIES = 50
"""Events, with their bodies, per read."""
Read = Callable[[Tx, Sequence[int]], Iterable[dict[str, Any]]]
Part = tuple[str, Any]
"""A key of the document, and its value, or an iterator of the objects in its list."""


def export_person(ledger: Ledger, person_id: int, *, actor: str) -> Iterator[str] | None:
    """Everything about one person, as pieces of JSON text: profile, identifiers, events, conversions, deliveries with their
    attempts. None if the person does not exist.

    mentioned_in: the IDs of other people's events that name this person, without their content. The export is recorded in the
    audit log before its first piece.
    """
    with look(ledger) as tx:
        if person(tx, person_id) is None:
            return None
    named, held = events_about(ledger, person_id, ()), held_about(ledger, person_id, ())
    ledger.transact(lambda tx: note(tx, actor, "export", f"person {person_id}"))
    return _written(_parts_of(ledger, person_id, named, held))


def export_name(ledger: Ledger, name: str, *, actor: str) -> Iterator[str] | None:
    """The same for someone named only by parked or ignored events; None if no event names them."""
    named, held = events_about(ledger, None, (name,)), held_about(ledger, None, (name,))
    if not named and not held:
        return None
    subject = f"{len(named)} that name somebody who is not a person here"
    ledger.transact(lambda tx: note(tx, actor, "export", "events", subject))

    def parts() -> Iterator[Part]:
        yield "person", None
        yield from _events(ledger, named, None)
        yield "quarantined", _each(ledger, held, _quarantined, 1)

    return _written(parts())


def _written(parts: Iterable[Part]) -> Iterator[str]:
    """The document as indented JSON. Its pieces end anywhere."""
    before = "{"
    for name, value in parts:
        yield f"{before}\n  {json.dumps(name)}: "
        if isinstance(value, Iterator):
            opening = "["
            for entry in value:
                yield f"{opening}\n    {_indented(entry, 4)}"
                opening = ","
            yield "[]" if opening == "[" else "\n  ]"
        else:
            yield _indented(value, 2)
        before = ","
    yield "\n}\n"


def _indented(value: Any, columns: int) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2).replace("\n", "\n" + " " * columns)


def _each(ledger: Ledger, ids: Sequence[int], read: Read, size: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows of these IDs, read batch by batch so that no transaction stays open."""
    size = size or BATCH
    for start in range(0, len(ids), size):
        with look(ledger) as tx:
            rows = list(read(tx, ids[start : start + size]))
        yield from rows


def _parts_of(ledger: Ledger, person_id: int, named: Sequence[int], held: Sequence[int]) -> Iterator[Part]:
    with look(ledger) as tx:
        yield "person", person(tx, person_id)
        merged = tx.run("SELECT id FROM persons WHERE merged_into = ? ORDER BY id", person_id)
        yield "merged_persons", list(merged.scalars())
        conversions, deliveries = (
            list(tx.run(f"SELECT id FROM {table} WHERE person_id = ? ORDER BY id", person_id).scalars())
            for table in ("conversions", "deliveries")
        )
        conflicts = _conflicts(tx, person_id)
    yield "conversions", _each(ledger, conversions, _conversions)
    money_back = list(_each(ledger, conversions, _refunds_and_disputes))
    yield "refunds_and_disputes", sorted(money_back, key=lambda mark: (mark["at"], mark["reference"]))
    yield "deliveries", _each(ledger, deliveries, _deliveries)
    yield "sandbox_requests", _each(ledger, deliveries, _sandbox_requests)
    yield "conflicts", conflicts
    with look(ledger) as tx:
        lines = lines_of(tx, [f"person {person_id}"])
    lines += _each(ledger, deliveries, lambda tx, ids: lines_of(tx, [f"delivery {identity}" for identity in ids]))
    yield "audit", _capped(sorted(lines, key=lambda line: int(line["id"])))
    yield from _events(ledger, named, person_id)
    yield "quarantined", _each(ledger, held, _quarantined, 1)


def _capped(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest MOST_LINES of each subject, oldest first."""
    counts: Counter[str] = Counter()
    kept = []
    for line in reversed(lines):
        counts[line["subject"]] += 1
        if counts[line["subject"]] <= MOST_LINES:
            kept.append(line)
    return kept[::-1]


def _quarantined(tx: Tx, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Quarantined requests that name this person. They are unverified, so anyone may have made them up."""
    for identity in ids:
        if (row := one_held(tx, identity)) is not None:
            held, content = row
            yield {**held.as_json(), "body": content.body.decode("utf-8", "replace")}


def _conflicts(tx: Tx, person_id: int) -> list[dict[str, Any]]:
    rows = tx.run(
        "SELECT at, event_id, conversion_id, reason FROM conflicts WHERE person_id = ? ORDER BY id", person_id
    ).all()
    return [
        {"at": times.iso(detected_at), "event": event_id, "conversion_id": conversion, "reason": reason}
        for detected_at, event_id, conversion, reason in rows
    ]


def _conversions(tx: Tx, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    condition, value = tx.among("conversion_id", ids)
    keys: dict[int, list[str]] = defaultdict(list)
    statement = f"SELECT conversion_id, key FROM dedupe_keys WHERE {condition} ORDER BY key"
    for conversion_id, key in tx.run(statement, value).all():
        keys[conversion_id].append(key)
    names = ("id", "state", "kind", "source", "dedupe_key", "event", "occurred_at", "created_at", "facts")
    condition, value = tx.among("id", ids)
    rows = tx.run(
        "SELECT id, state, kind, source, dedupe_key, event_id, occurred_at, created_at, facts FROM conversions"
        f" WHERE {condition} ORDER BY id",
        value,
    ).all()
    for row in rows:
        conversion = dict(zip(names, row, strict=True))
        moments = {name: times.iso(conversion[name]) for name in ("occurred_at", "created_at")}
        yield {
            **conversion,
            **moments,
            "dedupe_keys": keys[conversion["id"]],
            "facts": json.loads(conversion["facts"]),
        }


def _refunds_and_disputes(tx: Tx, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    for adjustment in adjustments(tx, ids):
        yield {
            "conversion_id": adjustment.conversion_id,
            "reference": adjustment.reference,
            "kind": adjustment.kind,
            "status": adjustment.status,
            "amount_minor": adjustment.minor,
            "currency": adjustment.currency,
            "at": times.iso(adjustment.at),
        }


def _deliveries(tx: Tx, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Deliveries as their pages show them, without events and marks, which the document has beside them."""
    condition, value = tx.among("d.id", ids)
    rows = tx.run(f"SELECT {DELIVERY} FROM {DELIVERIES} WHERE {condition} ORDER BY d.id", value).all()
    shown = [(delivery_row(row), (json.loads(row[20]) if row[20] else {}).get("sale")) for row in rows]
    tried = attempts_of(tx, ids)
    adjusted = refunds.adjusted(tx, [delivery["conversion_id"] for delivery, _ in shown])
    for delivery, sale in shown:
        delivery |= {"attempt_list": tried.get(delivery["id"], []), "net": None, "sale": None, "refunds": []}
        if delivery["conversion_id"] in adjusted:
            refunds.add_story(tx, delivery, sale)
            del delivery["marks"]
        yield delivery | {"waits_for": waits_for(tx, delivery)}


def _sandbox_requests(tx: Tx, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    condition, value = tx.among("id", ids)
    rows = tx.run(
        "SELECT received_at, kind, idempotency_key, problem, body FROM sandbox_requests WHERE idempotency_key IN"
        f" (SELECT dedupe_key FROM deliveries WHERE {condition}) ORDER BY id",
        value,
    ).all()
    names = ("received_at", "kind", "idempotency_key", "problem", "body")
    for row in rows:
        yield dict(zip(names, row, strict=True)) | {"received_at": times.iso(row[0])}


def _events(ledger: Ledger, ids: Sequence[int], person_id: int | None) -> Iterator[Part]:
    """The events that are about this person, and which others name them."""
    with look(ledger) as tx:
        condition, value = tx.among("e.id", ids)
        rows = tx.run(
            "SELECT e.id, COALESCE(c.person_id, e.person_id) FROM events e LEFT JOIN conversions c ON c.id = e.conversion_id"
            f" WHERE {condition} ORDER BY e.id",
            value,
        ).all()
    yield "events", _each(ledger, [row[0] for row in rows if row[1] in (None, person_id)], _whole_events, BODIES)
    yield "mentioned_in", [row[0] for row in rows if row[1] not in (None, person_id)]


def _whole_events(tx: Tx, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    condition, value = tx.among("id", ids)
    rows = tx.run(f"SELECT {EVENT}, headers, body FROM events WHERE {condition} ORDER BY id", value).all()
    condition, value = tx.among("event_id", ids)
    facts: dict[int, list[dict[str, str]]] = defaultdict(list)
    statement = f"SELECT event_id, kind, value, given FROM event_facts WHERE {condition} ORDER BY kind, value"
    for event_id, kind, text, given in tx.run(statement, value).all():
        facts[event_id].append({"kind": kind, "value": given or text})
    deliveries = _deliveries_of(tx, [row[6] for row in rows if row[6] is not None])
    for shown, row in zip(event_rows(tx, [row[:-2] for row in rows]), rows, strict=True):
        yield {
            **shown,
            "headers": json.loads(row[-2]),
            "body": bytes(row[-1]).decode("utf-8", "replace"),
            "deliveries": deliveries.get(shown["conversion_id"], []),
            "facts": facts[shown["id"]],
        }


def _deliveries_of(tx: Tx, conversion_ids: Sequence[int]) -> dict[int, list[int]]:
    """The deliveries of these conversions, and of the refunds of them."""
    own, values = tx.among("conversion_id", conversion_ids)
    refunded, sales = tx.among("r.sale_id", conversion_ids)
    rows = tx.run(
        f"SELECT conversion_id, id FROM deliveries WHERE {own} UNION ALL SELECT r.sale_id, d.id FROM refunds r"
        f" JOIN deliveries d ON d.conversion_id = r.conversion_id WHERE {refunded} ORDER BY 2",
        values,
        sales,
    ).all()
    by_conversion: dict[int, list[int]] = defaultdict(list)
    for conversion_id, delivery_id in rows:
        by_conversion[conversion_id].append(delivery_id)
    return by_conversion
