"""Finds people, deliveries and events by an email address, a name or an ID. Read only.

Every query uses an index and is bounded: a page reads SCAN rows at most and then returns where to continue, and counts stop
at SCAN.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from app.ledger.reading.filters import KINDS, MOST, Found
from app.ledger.sealing.cipher import MARK
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.persons import normal_email, normal_phone

LAST = "\U0010ffff"
"""No text sorts after it, so [prefix, prefix + LAST) is everything that begins with prefix."""


AN_AT = ("%@%", "%!%%40%", "%0040%", "%x40%", "%#64%")
MASKED = " AND ".join(f"{{0}} NOT LIKE '{pattern}' ESCAPE '!'" for pattern in AN_AT)
"""Matches text without an email address, however its @ is encoded."""


def find(tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool = False) -> Found:
    """People, conversions and events that `text` names: an email address, phone number, name or surname, customer ID, cus_… or
    sub_…, invoiceId or another ID of a purchase, refund or submission, event ID or click ID, or the beginning of one; "12" is the
    ledger's ID of a delivery or event. Events without a conversion are found by everything that could be read from them.

    whole_addresses: match an email address only if it is complete. Beginnings would reveal a masked address letter by letter.
    In an encrypted ledger, a beginning finds only IDs of purchases, submissions and events.
    """
    text, names = text.strip().lstrip(MARK[0]), list(sources)
    if not text:
        return Found()
    masked = whole_addresses
    scopes = [f"{kind}:{name}:" for name in names for kind in KINDS]
    own_scopes = [f"{name}:" for name in names]
    read = _events_that_say(tx, text, own_scopes, masked=masked)
    persons = person_ids(tx, text, names, whole_addresses=masked)
    persons += [
        person_id
        for person_id in (*clicked(tx, text, masked=masked), *_persons_of(tx, read))
        if person_id not in persons
    ]
    conversions = _beginning(tx, "dedupe_keys", "key", "conversion_id", text, scopes, masked=masked)
    events = _beginning(tx, "events", "event_key", "id", text, own_scopes, masked=masked)
    own = int(text) if text.isascii() and text.isdigit() and int(text[:20]) <= LARGEST_ID else None
    numbers = [own] if own is not None else []
    return Found(persons[:MOST], conversions, list(dict.fromkeys((*numbers, *events, *read))), numbers)


def exactly(tx: Tx, text: str, sources: Iterable[str]) -> Found:
    """Everything named exactly `text`. A number also finds the delivery and the event with that ID in the ledger."""
    text, names = text.strip(), list(sources)
    forms = sorted({*_forms(text), " ".join(text.split()).casefold()})
    own_scopes = [f"{name}:{text}" for name in names]
    condition, value = tx.among_sealed("value", [*forms, *own_scopes])
    persons = list(
        tx.run(
            f"SELECT person_id FROM identifiers WHERE {condition} ORDER BY seen_at DESC LIMIT ?", value, MOST
        ).scalars()
    )
    for column, restriction in (
        ("click_first", "click_first IS NOT NULL"),
        ("click_last", "click_last <> click_first"),
    ):
        persons += _clicked_exactly(tx, column, restriction, text)
    statement = f"SELECT event_id FROM event_facts WHERE {condition} ORDER BY event_id DESC LIMIT ?"
    events = list(tx.run(statement, value, MOST).scalars())
    if text.startswith("person:") and text[7:].isascii() and text[7:].isdigit() and len(text) < 26:
        persons.append(int(text[7:]))
    own = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    condition, value = tx.among("event_key", own_scopes)
    events += tx.run(f"SELECT id FROM events WHERE {condition}", value).scalars()
    condition, value = tx.among("key", [text, *(f"{kind}:{name}:{text}" for name in names for kind in KINDS)])
    conversions = list(tx.run(f"SELECT DISTINCT conversion_id FROM dedupe_keys WHERE {condition}", value).scalars())
    numbers = []
    if own is not None:
        condition, value = tx.among("id", [own])
        events += tx.run(f"SELECT id FROM events WHERE {condition}", value).scalars()
        numbers = list(tx.run(f"SELECT id FROM deliveries WHERE {condition}", value).scalars())
    return Found(list(dict.fromkeys(persons))[:MOST], conversions, list(dict.fromkeys(events))[:MOST], numbers)


def person_ids(tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool = False) -> list[int]:
    """People with an identifier that equals or begins with `text`, exact matches first."""
    forms, scopes = _forms(text), [f"{name}:" for name in sources]
    condition, value = tx.among_sealed("value", [*forms, *(scope + text for scope in scopes)])
    exact = f"SELECT person_id FROM identifiers WHERE {condition} ORDER BY seen_at DESC LIMIT ?"
    persons = dict.fromkeys(tx.run(exact, value, MOST).scalars())
    for form in forms:
        scoped = scopes if form == text else []
        persons |= dict.fromkeys(
            _beginning(tx, "identifiers", "value", "person_id", form, scoped, masked=whole_addresses)
        )
    return list(persons)[:MOST]


def clicked(tx: Tx, click_id: str, *, masked: bool = False) -> list[int]:
    """People whose first or last click ID equals or begins with this one."""
    persons: dict[int, None] = {}
    for column, condition in (("click_first", "click_first IS NOT NULL"), ("click_last", "click_last <> click_first")):
        if tx.is_sealed:
            persons |= dict.fromkeys(_clicked_exactly(tx, column, condition, click_id))
        hidden = f" AND {MASKED.format(column)}" if masked else ""
        statement = (
            f"SELECT id FROM persons WHERE {condition} AND {column} >= ? AND {column} < ?{hidden}"
            f" ORDER BY {column} LIMIT ?"
        )
        persons |= dict.fromkeys(tx.run(statement, click_id, click_id + LAST, MOST).scalars())
    return list(persons)[:MOST]


def _clicked_exactly(tx: Tx, column: str, restriction: str, click_id: str) -> list[int]:
    condition, value = tx.among_sealed(column, [click_id])
    return list(tx.run(f"SELECT id FROM persons WHERE {restriction} AND {condition} LIMIT ?", value, MOST).scalars())


def _forms(text: str) -> list[str]:
    """`text` normalized as each kind of identifier."""
    phone = normal_phone(text)
    return sorted({text, normal_email(text), *([phone] if phone else [])})


def _events_that_say(tx: Tx, text: str, scopes: Sequence[str], *, masked: bool) -> list[int]:
    """Events with a stored fact that equals or begins with `text`, exact matches first."""
    forms = sorted({*_forms(text), " ".join(text.split()).casefold()})
    condition, value = tx.among_sealed("value", [*forms, *(scope + text for scope in scopes)])
    exact = f"SELECT event_id FROM event_facts WHERE {condition} ORDER BY event_id DESC LIMIT ?"
    events = dict.fromkeys(tx.run(exact, value, MOST).scalars())
    for form in forms:
        scoped = scopes if form == text else []
        events |= dict.fromkeys(_beginning(tx, "event_facts", "value", "event_id", form, scoped, masked=masked))
    return list(events)[:MOST]


def _persons_of(tx: Tx, event_ids: Sequence[int]) -> list[int]:
    condition, value = tx.among("id", event_ids)
    statement = f"SELECT DISTINCT person_id FROM events WHERE {condition} AND person_id IS NOT NULL"
    return sorted(tx.run(statement, value).scalars(), reverse=True)


def _beginning(
    tx: Tx, table: str, key: str, column: str, text: str, scopes: Sequence[str], *, masked: bool
) -> list[int]:
    """Values of `column` where `key` begins with text, or with one of `scopes` followed by text. One statement, to save round
    trips.

    masked: without those where `key` contains an email address.
    """
    hidden = f" AND {MASKED.format(key)}" if masked else ""
    select = (
        f"SELECT found FROM (SELECT {column} AS found FROM {table} WHERE {key} >= ? AND {key} < ?{hidden}"
        f" ORDER BY {key} LIMIT ?) p"
    )
    prefixes = [text, *(scope + text for scope in scopes)]
    statement = " UNION ALL ".join(f"{select}{number}" for number in range(len(prefixes)))
    values = [value for prefix in prefixes for value in (prefix, prefix + LAST, MOST)]
    return list(dict.fromkeys(tx.run(statement, *values).scalars()))[:MOST]


def deliveries_of(tx: Tx, matches: Found, limit: int = MOST) -> list[int]:
    """IDs of the deliveries of everything in `matches`, newest first."""
    condition, value = tx.among("person_id", matches.person_ids)
    parts = [f"SELECT id FROM deliveries WHERE {condition} AND id >= ?"]
    values: list[Any] = [value, floor_of_people(tx, "deliveries", matches.person_ids, limit) or 0]
    events = "SELECT conversion_id FROM events WHERE {} AND conversion_id IS NOT NULL"
    of_events = f"conversion_id IN ({events.format('{}')})"
    for column, template, ids in (
        ("conversion_id", "{}", matches.conversion_ids),
        ("id", of_events, matches.event_ids),
        ("id", "{}", matches.delivery_ids),
    ):
        condition, value = tx.among(column, ids)
        parts.append(f"SELECT id FROM deliveries WHERE {template.format(condition)}")
        values.append(value)
    statement = f"{' UNION '.join(parts)} ORDER BY id DESC LIMIT ?"
    return list(tx.run(statement, *values, limit).scalars())


def floor_of_people(tx: Tx, table: str, person_ids: Sequence[int], limit: int, below: int = LARGEST_ID) -> int | None:
    """The lowest ID from which each of these people has at most `limit` rows of `table` below `below`, and one of them exactly
    that many; None if none of them has so many."""
    condition, value = tx.among("p.id", person_ids)
    last = f"SELECT t.id FROM {table} t WHERE t.person_id = p.id AND t.id < ? ORDER BY t.id DESC LIMIT 1 OFFSET ?"
    statement = f"SELECT MAX(n.id) FROM (SELECT ({last}) AS id FROM persons p WHERE {condition}) n"
    floor: int | None = tx.run(statement, below, limit - 1, value).scalar()
    return floor
