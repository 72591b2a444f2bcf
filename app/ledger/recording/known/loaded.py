"""Reads what a group of events needs from the ledger in two round trips, and further lookups."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.ledger.reading.by_key import was_attempted
from app.ledger.recording.arrival import Arrival, Conversion, Route, SeenEvent
from app.ledger.recording.known.event_facts import EventFacts
from app.ledger.recording.known.event_facts import Row as FactRow
from app.ledger.recording.payload import click_ids_of, shown_of
from app.ledger.recording.rows import CONVERSION, PERSON, columns_of, read_conversion, read_person
from app.ledger.tables import KEY_KINDS
from app.ledger.transaction import Tx
from app.persons import Identifier, Person

IDS_AN_EVENT = 4
"""IDs reserved per event: for the event, a conversion, a person and a delivery. More are reserved if a group needs them."""


@dataclass(slots=True)
class Loaded:
    """The part of the ledger that a group of events touches. Created by `load`."""

    tx: Tx
    routes: Sequence[Route]
    now: int = 0
    events: dict[str, SeenEvent] = field(default_factory=dict)
    keys: dict[str, Conversion] = field(default_factory=dict)
    found: dict[Identifier, list[Person]] = field(default_factory=dict)
    persons: dict[int, Person] = field(default_factory=dict)
    conversions: dict[int, Conversion] = field(default_factory=dict)
    facts: dict[str, list[EventFacts]] = field(default_factory=dict)
    """What uncounted events say under these keys (as fact_key builds them), oldest first."""
    marked: set[str] = field(default_factory=set)
    """Keys that a refund or dispute names."""
    dropped: dict[int, Conversion] = field(default_factory=dict)
    """Joined conversions: by ID, the conversion that replaced them."""
    shown: dict[int, tuple[object, ...]] = field(default_factory=dict)
    """What payloads contained about each person when it was read (shown_of)."""
    clicked: dict[int, frozenset[str]] = field(default_factory=dict)
    """The click IDs that were known of each person when it was read."""
    _ids: list[int] = field(default_factory=list)
    _attempted: dict[int, bool] = field(default_factory=dict)

    def load(
        self,
        arrivals: Sequence[Arrival],
        keys: Sequence[str],
        fact_keys: Sequence[str],
        identifiers: Sequence[Identifier],
        beginnings: Sequence[str] = (),
    ) -> None:
        """Reads everything that `arrivals` may touch. On PostgreSQL, locks it until the transaction ends.

        beginnings: beginnings of truncated keys, and of full keys of that kind. They are only locked, so that two writers that
        cannot see each other do not record both at once.
        """
        event_keys = [arrival.event_key for arrival in arrivals]
        owned = () if self.tx.is_sqlite else (f"{kind}={value}" for kind, value in identifiers)
        names = [*event_keys, *keys, *fact_keys, *beginnings, *owned]
        look, values = self._look(event_keys, keys, fact_keys, [value for _, value in identifiers])
        self.now, ids, rows = self.tx.enter(names, IDS_AN_EVENT * len(arrivals), look, *values)
        self._ids, sought = ids[::-1], set(identifiers)
        persons, conversions = set[int](), set[int]()
        self._read(rows, sought)
        while not self.tx.is_sqlite and not (self.persons.keys() <= persons and self.conversions.keys() <= conversions):
            # A person has many identifiers and a purchase many keys, and another writer may hold those that we did not lock.
            persons |= self.persons.keys()
            conversions |= self.conversions.keys()
            for known in (self.events, self.keys, self.marked, self.facts, self.found, self.persons, self.conversions):
                known.clear()
            self._read(self.tx.look_again(sorted(persons), sorted(conversions), look, *values), sought)

    def _read(self, rows: Sequence[Any], sought: set[Identifier]) -> None:
        """Takes over the rows that `_look` found."""
        owners: list[tuple[int, Identifier, list[Any]]] = []
        for table, name, content in rows:
            fields = _values(content)
            if table == "event":
                self.events[name] = SeenEvent(*fields)
            elif table == "key":
                self.keys[name] = self._conversion(*fields)
            elif table == "mark":
                self.marked.add(name)
            elif table == "fact":
                self._add_fact(name, *fields)
            else:
                kind, seen_at, person = fields
                if (kind, name) in sought:
                    owners.append((seen_at, (kind, name), person))
        for _, identifier, person in sorted(owners, key=lambda owner: -owner[0]):  # the one last seen with it first
            self.found.setdefault(identifier, []).append(self._person(person))

    def _add_fact(
        self, key: str, event_id: int, outcome: str, key_kind: str, fact: FactRow, values: Sequence[Any]
    ) -> None:
        known = self.facts.setdefault(key, [])
        facts = next((of_event for of_event in known if of_event.event_id == event_id), None)
        if facts is None:
            person = self._person(values) if values[0] is not None else None
            facts = EventFacts(event_id, outcome, key_kind, person)
            known.append(facts)
            known.sort(key=lambda of_event: of_event.event_id)
        value, kind, original = fact
        facts.rows.append((value, kind, original))

    def _look(
        self, event_keys: Sequence[str], keys: Sequence[str], fact_keys: Sequence[str], values: Sequence[str]
    ) -> tuple[str, list[Any]]:
        """The statement and values that find (table, name, fields) of everything known under these names. The fields are JSON,
        so one statement covers all tables."""
        array, conversion, person = self._array, self._conversion_json, self._person_json
        events, keyed = self.tx.among("event_key", event_keys), self.tx.among("k.key", keys)
        learned, owned = self.tx.among_sealed("n.value", fact_keys), self.tx.among_sealed("i.value", values)
        kinds = ", ".join(f"'{kind}'" for kind in KEY_KINDS)
        statement = (
            f"SELECT 'event', event_key, {array}(id, outcome, conversion_id) FROM events WHERE {events[0]}"
            f" UNION ALL SELECT 'key', k.key, {array}({conversion}, {person}) FROM dedupe_keys k"
            f" JOIN conversions c ON c.id = k.conversion_id LEFT JOIN persons p ON p.id = c.person_id WHERE {keyed[0]}"
            f" UNION ALL SELECT 'mark', k.key, {array}(k.key) FROM marks k WHERE {keyed[0]}"
            f" UNION ALL SELECT 'fact', n.value, {array}(n.event_id, e.outcome, n.kind,"
            f" {array}(f.value, f.kind, f.given), {person})"
            f" FROM event_facts n JOIN event_facts f ON f.event_id = n.event_id JOIN events e ON e.id = n.event_id"
            f" LEFT JOIN persons p ON p.id = e.person_id WHERE {learned[0]} AND n.kind IN ({kinds})"
            f" UNION ALL SELECT 'identifier', i.value, {array}(i.kind, i.seen_at, {person}) FROM identifiers i"
            f" JOIN persons p ON p.id = i.person_id WHERE {owned[0]}"
        )
        return statement, [events[1], keyed[1], keyed[1], learned[1], owned[1]]

    def load_identifiers(self, identifiers: Sequence[Identifier]) -> None:
        """Reads and locks the people behind identifiers that became known only after `load`."""
        missing = [identifier for identifier in identifiers if identifier not in self.found]
        if not missing:
            return
        self.tx.lock([f"{kind}={value}" for kind, value in missing])
        condition, values = self.tx.among_sealed("i.value", [value for _, value in missing])
        lock = "" if self.tx.is_sqlite else " FOR UPDATE OF p"
        rows = self.tx.run(
            f"SELECT i.kind, i.value, {self._person_json} FROM identifiers i JOIN persons p ON p.id = i.person_id"
            f" WHERE {condition} ORDER BY i.seen_at DESC{lock}",
            values,
        ).all()
        for kind, value, person in rows:
            if (kind, value) in missing:
                self.found.setdefault((kind, value), []).append(self._person(_values(person)))

    def next_id(self) -> int:
        """A new ID, ascending within the group."""
        if not self._ids:
            self._ids = self.tx.reserve_ids(IDS_AN_EVENT)[::-1]
        return self._ids.pop()

    def surviving(self, conversion: Conversion) -> Conversion:
        """`conversion`, or the one that replaced it."""
        while conversion.id in self.dropped:
            conversion = self.dropped[conversion.id]
        return conversion

    def attempted(self, person: Person) -> bool:
        """Whether an attempt was ever made for this person."""
        if person.is_new:
            return False
        if person.id not in self._attempted:
            self._attempted[person.id] = was_attempted(self.tx, person.id)
        return self._attempted[person.id]

    def sent_to(self, conversion: Conversion) -> frozenset[str] | None:
        """The destinations where it can no longer be withdrawn: it was attempted or closed. None if that is unknown, because
        retention removed its deliveries."""
        if conversion.is_new or conversion.deliver_at is not None:  # counted within this group: not written yet
            return frozenset()
        lock = self.tx.for_update  # so that no worker claims them before this is over
        rows = self.tx.run(
            f"SELECT destination, attempts, claim, due_at, status FROM deliveries WHERE conversion_id = ? ORDER BY id{lock}",
            conversion.id,
        ).all()
        if not rows:
            return None
        return frozenset(
            row[0] for row in rows if row[1] > 0 or row[2] is not None or (row[3] is None and row[4] != "shadow")
        )

    def unattempted(self, conversion: Conversion) -> bool:
        """Whether no delivery was attempted yet, so its facts may still change."""
        return self.sent_to(conversion) == frozenset()

    def load_conversions(self, ids: Sequence[int]) -> None:
        """Loads these into `conversions`."""
        missing = sorted({identity for identity in ids if identity not in self.conversions})
        if not missing:
            return
        condition, value = self.tx.among("c.id", missing)
        statement = (
            f"SELECT {self._conversion_json}, {self._person_json} FROM conversions c LEFT JOIN persons p ON p.id = c.person_id"
            f" WHERE {condition}"
        )
        for conversion, person in self.tx.run(statement, value).all():
            self._conversion(_values(conversion), _values(person))

    def person(self, person_id: int) -> Person:
        """The person with this ID, which must exist."""
        if person_id not in self.persons:
            statement = f"SELECT {self._person_json} FROM persons p WHERE p.id = ?"
            self._person(_values(self.tx.run(statement, person_id).scalar_one()))
        return self.persons[person_id]

    def _load_keys(self, keys: Sequence[str]) -> None:
        condition, value = self.tx.among("key", keys)
        rows = self.tx.run(
            f"SELECT key, conversion_id FROM dedupe_keys WHERE {condition}",
            value,
        ).all()
        self.load_conversions([row[1] for row in rows])
        for key, conversion_id in rows:
            self.keys.setdefault(key, self.surviving(self.conversions[conversion_id]))

    def _conversion(self, values: Sequence[Any], person: Sequence[Any]) -> Conversion:
        """The single object for this conversion, and for its person."""
        known = self.conversions.get(values[0])
        if known is None:
            loaded = read_conversion(values, self._person(person) if person[0] is not None else None, self.tx)
            known = self.conversions[loaded.id] = loaded
        return known

    def _person(self, values: Sequence[Any]) -> Person:
        """The single object for this person."""
        known = self.persons.get(values[0])
        if known is None:
            known = self.persons[values[0]] = read_person(values)
            self.shown[known.id] = shown_of(known)
            self.clicked[known.id] = click_ids_of(known)
        return known

    @property
    def _array(self) -> str:
        """The SQL function that builds a JSON array from its arguments."""
        return "json_array" if self.tx.is_sqlite else "json_build_array"

    @property
    def _conversion_json(self) -> str:
        return f"{self._array}({columns_of(CONVERSION, 'c')})"

    @property
    def _person_json(self) -> str:
        return f"{self._array}({columns_of(PERSON, 'p')})"


def _values(content: Any) -> Any:
    """A JSON array from either driver: SQLite returns text, PostgreSQL a list."""
    return json.loads(content) if isinstance(content, str) else content
