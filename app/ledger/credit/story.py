"""Reads everything about one purchase or person: events, conversions and deliveries. Read only, by index and bounded."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app import times
from app.ledger.reading.events import events_by_id
from app.ledger.reading.rows import DELIVERIES, DELIVERY, about, delivery_row, with_refunds
from app.ledger.reading.search import exactly, find
from app.ledger.transaction import Tx

MOST_PEOPLE, MOST_EVENTS, MOST_CONVERSIONS, MOST_DELIVERIES = 5, 50, 20, 50
LONGEST_BODY = 256 * 1024
"""A larger body is not read to find out why it carries no click ID."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A counted Sale or Lead, or a promised one (state), with the amount of a Sale and the clicks that are known of it."""

    id: int
    state: str
    kind: str
    source: str
    key: str
    event_id: int
    person_id: int | None
    occurred_at: str | None
    amount: int | float | None
    currency: str | None
    clicks: tuple[str, ...]
    follows: bool
    """The second event of a deferred Lead, which carries no click by design."""
    earlier_leads: int = 0
    """Of the same person, at most 100 are counted."""
    event_type: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    people: Sequence[dict[str, Any]] = ()
    events: Sequence[dict[str, Any]] = ()
    conversions: Sequence[Conversion] = ()
    deliveries: Sequence[dict[str, Any]] = ()
    """As lists have them, and `answer`: the body of the destination's last answer."""
    bodies: dict[int, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    """Body and headers of the events that made the conversions."""

    @property
    def is_empty(self) -> bool:
        return not (self.people or self.events or self.conversions or self.deliveries)


def story_of(tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool = False) -> Story:
    """Everything about what `text` names exactly or, if nothing matches, what begins with it."""
    names = list(sources)
    matches = exactly(tx, text, names)
    if matches.conversion_ids:  # a single purchase: its other IDs may be aliases of its person
        matches = replace(matches, person_ids=())
    elif not (matches.person_ids or matches.event_ids or matches.delivery_ids):
        matches = find(tx, text, names, whole_addresses=whole_addresses)
    condition, value = tx.among("id", matches.delivery_ids)
    conversions = set(matches.conversion_ids)
    conversions |= set(tx.run(f"SELECT conversion_id FROM deliveries WHERE {condition}", value).scalars())
    condition, value = tx.among("id", matches.event_ids)
    statement = f"SELECT conversion_id FROM events WHERE {condition} AND conversion_id IS NOT NULL"
    conversions |= set(tx.run(statement, value).scalars())
    return _story(tx, matches.person_ids[:MOST_PEOPLE], sorted(conversions, reverse=True), matches.event_ids)


def story_of_person(tx: Tx, person_id: int) -> Story:
    return _story(tx, [person_id], [], [])


def story_of_conversion(tx: Tx, conversion_id: int) -> Story:
    return _story(tx, [], [conversion_id], [])


def _story(tx: Tx, person_ids: Sequence[int], conversion_ids: Sequence[int], event_ids: Sequence[int]) -> Story:
    condition, value = tx.among("id", list(person_ids))
    merged = f"SELECT DISTINCT COALESCE(merged_into, id) FROM persons WHERE {condition}"
    people = list(tx.run(merged, value).scalars())
    conversions = _conversions(tx, people, conversion_ids)
    ids = [conversion.id for conversion in conversions]
    owners = sorted(
        {conversion.person_id for conversion in conversions if conversion.person_id is not None} | set(people)
    )
    events = _events(tx, people, ids, event_ids)
    condition, value = tx.among("e.id", [conversion.event_id for conversion in conversions])
    bodies = tx.run(
        f"SELECT e.id, e.body, e.headers FROM events e WHERE {condition} AND length(e.body) <= {LONGEST_BODY:d}", value
    ).all()
    return Story(
        _people(tx, owners[-MOST_PEOPLE:]),
        events,
        conversions,
        _deliveries(tx, ids),
        {row[0]: (bytes(row[1]), json.loads(row[2])) for row in bodies},
    )


def _conversions(tx: Tx, people: Sequence[int], ids: Sequence[int]) -> list[Conversion]:
    of_people, of_ids = tx.among("person_id", list(people)), tx.among("id", list(ids))
    newest = f"SELECT id FROM conversions WHERE {{}} AND kind <> 'refund' ORDER BY id DESC LIMIT {MOST_CONVERSIONS}"
    rows = tx.run(
        "SELECT c.id, c.state, c.kind, c.source, c.dedupe_key, c.event_id, c.person_id, c.occurred_at, c.facts,"
        " p.click_first, p.click_last, e.event_type FROM conversions c LEFT JOIN persons p ON p.id = c.person_id"
        " LEFT JOIN events e ON e.id = c.event_id WHERE c.id IN"
        f" (SELECT id FROM ({newest.format(of_people[0])}) a UNION SELECT id FROM ({newest.format(of_ids[0])}) b)"
        " AND c.state <> 'linked' ORDER BY c.id DESC",
        *(of_people[1], of_ids[1]),
    ).all()
    conversions = []
    for number, state, kind, source, key, event_id, person_id, occurred_at, facts, first, last, event_type in rows:
        recorded = json.loads(facts)
        worth = about(recorded, None, None)
        clicks = tuple(dict.fromkeys(click for click in (recorded.get("click_id"), first, last) if click))
        leads = _leads_before(tx, person_id, number) if not clicks and person_id is not None else 0
        amount, currency = worth["amount"], worth["currency"]
        moment, follows = times.iso(occurred_at), bool(recorded.get("follows"))
        conversions.append(
            Conversion(
                *(
                    number,
                    state,
                    kind,
                    source,
                    key,
                    event_id,
                    person_id,
                    moment,
                    amount,
                    currency,
                    clicks,
                    follows,
                    leads,
                ),
                event_type or "",
            )
        )
    return conversions


def _leads_before(tx: Tx, person_id: int, conversion_id: int) -> int:
    """IDs ascend with time."""
    statement = (
        "SELECT COUNT(*) FROM (SELECT 1 FROM conversions WHERE person_id = ? AND kind = 'lead' AND state = 'counted'"
        " AND id < ? LIMIT 100) n"
    )
    return int(tx.run(statement, person_id, conversion_id).scalar_one())


def _events(
    tx: Tx, people: Sequence[int], conversions: Sequence[int], event_ids: Sequence[int]
) -> list[dict[str, Any]]:
    parts, values = [], []
    for column, ids in (("person_id", people), ("conversion_id", conversions), ("id", event_ids)):
        condition, value = tx.among(column, list(ids))
        newest = f"SELECT id FROM events WHERE {condition} ORDER BY id DESC LIMIT {MOST_EVENTS}"
        parts.append(f"SELECT id FROM ({newest}) part_{column}")
        values.append(value)
    statement = f"SELECT id FROM ({' UNION '.join(parts)}) n ORDER BY id DESC LIMIT {MOST_EVENTS}"
    return events_by_id(tx, list(tx.run(statement, *values).scalars()))


def _deliveries(tx: Tx, conversions: Sequence[int]) -> list[dict[str, Any]]:
    ids, values = with_refunds(tx, list(conversions))
    rows = tx.run(
        f"SELECT {DELIVERY}, (SELECT a.answer_body FROM attempts a WHERE a.delivery_id = d.id ORDER BY a.id DESC LIMIT 1)"
        f" FROM {DELIVERIES} WHERE d.conversion_id IN ({ids})"
        f" ORDER BY d.id DESC LIMIT {MOST_DELIVERIES}",
        *values,
    ).all()
    return [delivery_row(row[:-1]) | {"answer": row[-1]} for row in rows]


def _people(tx: Tx, ids: Sequence[int]) -> list[dict[str, Any]]:
    condition, value = tx.among("id", list(ids))
    names = ("id", "name", "email", "customer_id", "click_first", "click_last")
    rows = tx.run(f"SELECT {', '.join(names)} FROM persons WHERE {condition} ORDER BY id DESC", value).all()
    return [dict(zip(names, row, strict=True)) for row in rows]
