"""Reads people: who they are, and what happened to them over time. Read only, by index."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from app import times
from app.clicks import from_text
from app.ledger.actions.forget import persons_called
from app.ledger.reading.by_key import was_attempted
from app.ledger.reading.money.marks import Adjustment, adjustments
from app.ledger.reading.money.refunds import by_reference, left_of
from app.ledger.reading.rows import EVENT, event_rows, paid
from app.ledger.reading.search import find
from app.ledger.reading.where import Where
from app.ledger.tables import LARGEST_ID, PERSON_FACTS
from app.ledger.transaction import Tx
from app.money import Money
from app.persons import normal_email
from app.text import storable

LONGEST_JOURNEY = 200
"""The most conversions of one person that are shown, newest first."""

_PERSON = ("id", *PERSON_FACTS, "created_at", "merged_into")


def persons(tx: Tx, *, ids: Sequence[int] | None = None, before: int | None = None, limit: int) -> list[dict[str, Any]]:
    """One page of people, newest first, with IDs below `before`; only `ids` if given."""
    where = Where("merged_into IS NULL").when(before, "id < ?")
    if ids is not None:
        where.add(*tx.among("id", ids))
    statement = f"SELECT {', '.join(_PERSON)} FROM persons WHERE {where} ORDER BY id DESC LIMIT ?"
    return [_person(row) for row in tx.run(statement, *where.values, limit).all()]


def person(tx: Tx, person_id: int) -> dict[str, Any] | None:
    """One person, including one merged into another (`merged_into`); None if it does not exist.

    `identifiers`: all identifiers that lead to this person. `attempted`: whether an attempt was ever made for them.
    `forgotten_at`: when their data was erased.
    """
    if person_id > LARGEST_ID:
        return None
    row = tx.run(f"SELECT {', '.join(_PERSON)} FROM persons WHERE id = ?", person_id).first()
    if row is None:
        return None
    profile = _person(row)
    rows = tx.run(
        "SELECT kind, value, seen_at FROM identifiers WHERE person_id = ? ORDER BY kind, seen_at, value",
        person_id,
    )
    profile["identifiers"] = [{"kind": k, "value": v, "seen_at": times.iso(seen_at)} for k, v, seen_at in rows.all()]
    profile["attempted"] = was_attempted(tx, person_id)
    forgotten = "SELECT MAX(at) FROM audit WHERE subject = ? AND action = 'forget'"
    profile["forgotten_at"] = times.iso(tx.run(forgotten, f"person {person_id}").scalar_one())
    return profile


def named(tx: Tx, name: str, sources: Iterable[str] | None = None) -> list[int]:
    """IDs of the people called `name` (see persons_called), following merges."""
    if name.startswith("person:") and not re.fullmatch(r"person:[0-9]{1,18}", name):
        return []
    person_ids = []
    for person_id in persons_called(tx, storable(name), sources):
        row = tx.run("SELECT merged_into FROM persons WHERE id = ?", person_id).first()
        person_ids.append(person_id if row is None or row[0] is None else row[0])
    return person_ids


def found(tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool) -> list[int]:
    """IDs of the people that a search text or its beginning matches, following merges."""
    ids = find(tx, text, sources, whole_addresses=whole_addresses).person_ids
    condition, value = tx.among("id", ids)
    rows = tx.run(f"SELECT COALESCE(merged_into, id) FROM persons WHERE {condition}", value)
    return sorted(set(rows.scalars()), reverse=True)


def search(
    tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool, before: int | None = None, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """One page of the people that a text matches (all if it is empty), newest first, and whether it names exactly one."""
    sources = list(sources)
    ids = named(tx, text, sources) if text else None
    is_exact = ids is not None and len(ids) == 1
    if text and not ids:
        ids = found(tx, text, sources, whole_addresses=whole_addresses)
    return persons(tx, ids=ids, before=before, limit=limit), is_exact


def why_this_id(person: dict[str, Any]) -> str:
    """Which customer ID is sent for a person from `person`, and why."""
    sent = person["customer_id"]
    best = _best(person)
    if sent is None:
        return "No conversion was counted for this person, so no customer ID is sent." + (
            f" It would be {best[0]} ({best[1]})." if best else ""
        )
    kind = _kind_of(person, sent)
    if best and best[0] != sent:
        since = "It was sent first, so it stays" if person["attempted"] else "Nothing was sent yet"
        return f"This is {kind}. {since}, although {best[0]} ({best[1]}) is known now."
    return f"This is {kind}. " + ("It was sent first, so it stays." if person["attempted"] else "Nothing was sent yet.")


def journey(tx: Tx, person: dict[str, Any]) -> list[dict[str, Any]]:
    """What happened to a person, oldest first, each step a dict:

    what ("first click", "lead", "sale", "renewal", "refund", …), at (ISO or None), text, tone ("warn", "bad" or ""), amount
    (text or None), event (the ledger's id or None), and deliveries (id, status, held, destination).
    """
    conversions = _conversions(tx, person["id"])
    steps = [step for conversion in conversions.values() for step in [_step(conversion, person)] if step]
    marks = adjustments(tx, list(conversions))
    steps += _marks(tx, conversions, marks)
    _name_net(steps, conversions, marks)
    rows = tx.run(
        "SELECT at, event_id, reason FROM conflicts WHERE person_id = ? ORDER BY id DESC LIMIT ?",
        person["id"],
        LONGEST_JOURNEY,
    )
    steps += [
        _made("conflict", detected_at, reason, tone="bad", event=event_id, rank=3)
        for detected_at, event_id, reason in rows.all()
    ]
    steps.sort(key=lambda step: (step["ms"], step["rank"]))
    _name_renewals(steps)
    if person["click_first"]:
        first = next((s for s in steps if s["click"] == person["click_first"]), None)
        click = _made("first click", None, person["click_first"], event=first["event"] if first else None)
        steps.insert(0, click | {"is_id": True})
    return steps


def events_of(tx: Tx, person_id: int, limit: int = 100) -> list[dict[str, Any]]:
    """The newest events about a person or their conversions, newest first."""
    ids = tx.run(
        "SELECT id FROM (SELECT id FROM events WHERE person_id = ? ORDER BY id DESC LIMIT ?) e UNION"
        " SELECT id FROM events WHERE conversion_id IN (SELECT id FROM conversions WHERE person_id = ? ORDER BY id DESC LIMIT ?)"
        " ORDER BY id DESC LIMIT ?",
        person_id,
        limit,
        person_id,
        LONGEST_JOURNEY,
        limit,
    )
    condition, value = tx.among("id", list(ids.scalars()))
    rows = tx.run(f"SELECT {EVENT} FROM events WHERE {condition} ORDER BY id DESC", value).all()
    return event_rows(tx, rows)


def _conversions(tx: Tx, person_id: int) -> dict[int, dict[str, Any]]:
    """The newest conversions of a person with their deliveries, by id."""
    rows = tx.run(
        "SELECT c.id, c.state, c.kind, c.source, c.dedupe_key, c.event_id, c.occurred_at, c.facts, e.event_type"
        " FROM conversions c LEFT JOIN events e ON e.id = c.event_id WHERE c.person_id = ?"
        " AND c.kind <> 'refund' ORDER BY c.id DESC LIMIT ?",
        person_id,
        LONGEST_JOURNEY,
    ).all()
    names = ("id", "state", "kind", "source", "dedupe_key", "event_id", "occurred_at", "facts", "event_type")
    conversions = {row[0]: dict(zip(names, row, strict=True)) | {"deliveries": []} for row in rows}
    for conversion in conversions.values():
        conversion["facts"] = json.loads(conversion["facts"])
    condition, value = tx.among("conversion_id", list(conversions))
    statement = f"SELECT conversion_id, id, status, held, destination FROM deliveries WHERE {condition} ORDER BY id"
    for conversion_id, delivery_id, status, held, destination in tx.run(statement, value).all():
        delivery = {"id": delivery_id, "status": status, "held": bool(held), "destination": destination}
        conversions[conversion_id]["deliveries"].append(delivery)
    return conversions


def _step(conversion: dict[str, Any], person: dict[str, Any]) -> dict[str, Any] | None:
    """A conversion as a step; None for one that only links IDs."""
    facts, state = conversion["facts"], conversion["state"]
    if state == "linked":
        return None
    sale, lead = facts.get("sale"), facts.get("lead")
    title, tone = conversion["kind"], ""
    text = (sale or lead or {}).get("event_name") or ("data erased" if person["forgotten_at"] else "")
    if state == "pending":
        title, tone, text = "pending purchase", "warn", "money promised but not collected: no Sale yet"
    elif state == "released":
        title, text = "purchase not paid", "money promised but never collected: no Sale"
    elif lead and facts.get("follows"):
        title, text = "lead, second event", f"{text}: the address of {facts['follows']} is verified"
    elif lead and lead.get("mode") == "deferred":
        title = "lead, deferred"
    amount = paid(sale).text if sale else None
    step = _made(title, conversion["occurred_at"], text, tone=tone, amount=amount, event=conversion["event_id"], rank=1)
    return step | {
        "key": conversion["dedupe_key"],
        "source": conversion["source"],
        "deliveries": conversion["deliveries"],
        "click": facts.get("click_id"),
        "event_name": sale and sale.get("event_name"),
        "event_type": conversion["event_type"],
        "conversion": conversion["id"],
    }


def _name_renewals(steps: list[dict[str, Any]]) -> None:
    """Names invoices after the start of a subscription renewals. For display only."""
    subscribed = False
    for step in steps:
        if step["what"] != "sale":
            continue
        if step["event_name"] == "subscription_created":
            subscribed = True
        elif subscribed and step["event_name"] == "order_paid" and str(step["event_type"]).startswith("invoice"):
            step["what"] = "renewal"


def _marks(tx: Tx, conversions: dict[int, dict[str, Any]], marks: Sequence[Adjustment]) -> list[dict[str, Any]]:
    """Refunds and disputes of these conversions, each once, with the deliveries that report them to destinations."""
    sent = by_reference(tx, list(conversions)) if marks else {}
    steps = []
    for mark in marks:
        sale = conversions[mark.conversion_id]
        text = f"{mark.status}, of {sale['dedupe_key']}"
        amount = _amount(mark.minor, mark.currency)
        step = _made(mark.kind, mark.at, text, tone="warn", amount=amount, event=mark.event_id, rank=2)
        deliveries = sent.get((mark.conversion_id, mark.reference), [])
        steps.append(step | {"key": mark.reference, "deliveries": deliveries, "of": sale["deliveries"]})
    return steps


def _name_net(
    steps: Sequence[dict[str, Any]], conversions: dict[int, dict[str, Any]], marks: Sequence[Adjustment]
) -> None:
    """Adds to each refunded Sale how much of it is left."""
    for identity in {mark.conversion_id for mark in marks}:
        sale = conversions[identity]["facts"].get("sale")
        step = next((step for step in steps if step.get("conversion") == identity), None)
        if sale and step:
            left = left_of([mark for mark in marks if mark.conversion_id == identity], sale)
            step["text"] += f"; {_amount(left.minor, left.currency)} left after refunds"


def _made(
    title: str,
    happened_at: int | None,
    text: str,
    *,
    tone: str = "",
    amount: str | None = None,
    event: int | None = None,
    rank: int = 0,
) -> dict[str, Any]:
    """One step; ms and rank order it."""
    return {
        "what": title,
        "ms": happened_at or 0,
        "rank": rank,
        "at": times.iso(happened_at),
        "text": text,
        "tone": tone,
        "amount": amount,
        "event": event,
        "deliveries": [],
        "key": None,
        "click": None,
        "event_name": None,
    }


def _amount(minor: int, currency: str) -> str:
    return Money(minor, currency).text


def _person(row: Any) -> dict[str, Any]:
    profile = dict(zip(_PERSON, row, strict=True))
    return profile | {"created_at": times.iso(profile["created_at"]), "clicks": _clicks(profile["clicks"])}


def _clicks(kept: str | None) -> dict[str, dict[str, str | None]]:
    """The first and the last of each further click ID, by name, with the time each was seen."""
    return {
        name: {
            "first": span.first.value,
            "first_at": times.iso(span.first.at),
            "last": span.last.value,
            "last_at": times.iso(span.last.at),
        }
        for name, span in sorted(from_text(kept).items())
    }


def _best(person: dict[str, Any]) -> tuple[str, str] | None:
    """The strongest ID known now, and its kind."""
    email = normal_email(person["email"]) if person["email"] else None
    for value, kind in (
        (person["explicit_id"], "an explicit customer ID"),
        (person["provider_id"], "their Stripe customer"),
        (email, "their email address"),
        (person["phone"], "their phone number"),
    ):
        if value:
            return value, kind
    return None


def _kind_of(person: dict[str, Any], sent: str) -> str:
    """The kind of an ID that is sent for a person."""
    best = _best(person)
    if best and best[0] == sent:
        return best[1]
    kinds = {i["kind"] for i in person["identifiers"] if i["value"].rsplit(":", 1)[-1] == sent or i["value"] == sent}
    for kind, name in (
        ("id", "an explicit customer ID"),
        ("alias", "their Stripe customer"),
        ("phone", "their phone number"),
    ):
        if kind in kinds:
            return name
    return "their email address" if "email" in kinds or "@" in sent else "an ID that was known earlier"
