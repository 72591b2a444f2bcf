"""What a group of events needs to know of the ledger, read in two round trips, and what it is to change.

Nothing here decides anything: record.py does, on these plain objects; flush.py writes them down.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.ledger.reading.by_key import was_attempted
from app.ledger.recording.arrival import Arrival, Conversion, NewEvent, Route, SeenEvent
from app.ledger.transaction import Tx
from app.persons import Identifier, Person

IDS_AN_EVENT = 4
"""Its own, and those of a conversion, a person and a delivery. More are drawn where a group takes more."""


@dataclass(slots=True)
class Snapshot:
    """The state of the ledger as far as a group of events is concerned. Made by `load`."""

    tx: Tx
    routes: Sequence[Route]
    first_touch: bool = True
    now: int = 0
    events: dict[str, SeenEvent] = field(default_factory=dict)
    keys: dict[str, Conversion] = field(default_factory=dict)
    found: dict[Identifier, list[Person]] = field(default_factory=dict)
    persons: dict[int, Person] = field(default_factory=dict)
    conversions: dict[int, Conversion] = field(default_factory=dict)
    new_events: list[NewEvent] = field(default_factory=list)
    new_keys: dict[str, Conversion] = field(default_factory=dict)
    new_conversions: list[Conversion] = field(default_factory=list)
    new_persons: list[Person] = field(default_factory=list)
    new_identifiers: dict[tuple[str, str, int], Person] = field(default_factory=dict)
    seen_again: dict[tuple[str, str, int], Person] = field(default_factory=dict)
    merged: list[Person] = field(default_factory=list)
    conflicts: list[tuple[int, Person | None, Conversion | None, str]] = field(default_factory=list)
    marks: list[tuple[Any, ...]] = field(default_factory=list)
    released: list[Person] = field(default_factory=list)
    """Persons who are named for good now: what is held for want of that may go."""
    claimed: list[Conversion] = field(default_factory=list)
    """Held conversions of an opt-in event whose purchase a better event named."""
    dropped: dict[int, Conversion] = field(default_factory=dict)
    """Conversions that turned out to be another one, by their ids."""
    withdrawn: list[tuple[Conversion, Conversion]] = field(default_factory=list)
    """Counted conversions that turned out to be another counted one before they were sent, each with that one."""
    _ids: list[int] = field(default_factory=list)
    _attempted: dict[int, bool] = field(default_factory=dict)

    def load(self, arrivals: Sequence[Arrival], keys: Sequence[str], identifiers: Sequence[Identifier]) -> None:
        """Reads all that `arrivals` may meet. Locks it, on PostgreSQL, until the transaction ends."""
        event_keys = [arrival.event_key for arrival in arrivals]
        names = [*event_keys, *keys, *(f"{kind}={value}" for kind, value in identifiers)]
        look, values = self._look(event_keys, keys, [value for _, value in identifiers])
        self.now, ids, rows = self.tx.enter(names, IDS_AN_EVENT * len(arrivals), look, *values)
        self._ids, wanted, held = ids[::-1], set(identifiers), set[int]()
        self._read(rows, wanted)
        while not self.tx.is_sqlite and not self.persons.keys() <= held:
            # One person has many identifiers, and another writer may be at work on this one under those that we did not lock.
            held |= self.persons.keys()
            for known in (self.events, self.keys, self.found, self.persons, self.conversions):
                known.clear()
            self._read(self.tx.look_again(sorted(held), look, *values), wanted)

    def _read(self, rows: Sequence[Any], wanted: set[Identifier]) -> None:
        """Takes in what `_look` found."""
        owners: list[tuple[int, Identifier, list[Any]]] = []
        for what, name, content in rows:
            fields = json.loads(content) if isinstance(content, str) else content
            if what == "event":
                self.events[name] = SeenEvent(*fields)
            elif what == "key":
                self.keys[name] = self._conversion(fields)
            elif (identifier := (fields[0], name)) in wanted:
                owners.append((fields[1], identifier, fields[2:]))
        for _, identifier, row in sorted(owners, key=lambda owner: -owner[0]):  # the one last seen with it first
            self.found.setdefault(identifier, []).append(self._person(row))

    def _look(self, event_keys: Sequence[str], keys: Sequence[str], values: Sequence[str]) -> tuple[str, list[Any]]:
        """The statement, and its values, that finds (what, name, fields) of all that is known by one of these. The fields are
        JSON, so that one statement serves three tables."""
        array = "json_array" if self.tx.is_sqlite else "json_build_array"
        events, keyed, owned = (
            self.tx.among(column, wanted)
            for column, wanted in (("event_key", event_keys), ("k.key", keys), ("i.value", values))
        )
        statement = (
            f"SELECT 'event', event_key, {array}(id, outcome, conversion_id) FROM events WHERE {events[0]}"
            f" UNION ALL SELECT 'key', k.key, {array}({_CONVERSION}, {_PERSON}) FROM dedupe_keys k"
            f" JOIN conversions c ON c.id = k.conversion_id LEFT JOIN persons p ON p.id = c.person_id WHERE {keyed[0]}"
            f" UNION ALL SELECT 'identifier', i.value, {array}(i.kind, i.seen_at, {_PERSON}) FROM identifiers i"
            f" JOIN persons p ON p.id = i.person_id WHERE {owned[0]}"
        )
        return statement, [events[1], keyed[1], owned[1]]

    def next_id(self) -> int:
        """A fresh id, ascending within the group."""
        if not self._ids:
            self._ids = self.tx.reserve_ids(IDS_AN_EVENT)[::-1]
        return self._ids.pop()

    def find(self, identifier: Identifier) -> Sequence[Person]:
        return self.found.get(identifier, ())

    def owners(self, keys: Sequence[str], prefixes: Sequence[str]) -> list[Conversion]:
        """The conversions that own these keys, or the one key that begins with one of `prefixes`; each once."""
        found = [self.new_keys.get(key) or self.keys.get(key) for key in keys]
        found += [self.by_prefix(prefix) for prefix in prefixes]
        return list(dict.fromkeys(conversion for conversion in found if conversion is not None))

    def claim_keys(self, keys: Sequence[str], conversion: Conversion) -> None:
        """Those of `keys` that nobody owns become those of `conversion`."""
        for key in keys:
            if key not in self.keys and key not in self.new_keys:
                self.new_keys[key] = conversion

    def absorb(self, first: Conversion, other: Conversion) -> None:
        """`other` turned out to be `first`, who gets its keys."""
        self.dropped[other.id] = first
        self._hand_over(first, other)

    def withdraw(self, first: Conversion, other: Conversion) -> None:
        """`other` turned out to be `first`, who gets its keys, and is not to be sent; what was recorded of it stays."""
        self.withdrawn.append((other, first))
        other.deliver_at = None
        self._hand_over(first, other)

    def _hand_over(self, first: Conversion, other: Conversion) -> None:
        for keys in (self.keys, self.new_keys):
            for key, conversion in keys.items():
                if conversion is other:
                    keys[key] = first

    def add_person(self) -> Person:
        person = Person(self.next_id(), is_new=True)
        self.new_persons.append(person)
        return person

    def remember(self, identifier: Identifier, person: Person) -> None:
        """Notes that `identifier` was last seen with `person`."""
        known = self.found.setdefault(identifier, [])
        row = (*identifier, person.id)
        owners = [one.survivor() for one in known]
        if person not in owners:
            self.new_identifiers[row] = person
            known.insert(0, person)
        elif owners[0] is not person:
            known.insert(0, known.pop(owners.index(person)))
            if row not in self.new_identifiers:
                self.seen_again[row] = person

    def attempted(self, person: Person) -> bool:
        """Whether anything of this person was ever tried to be sent."""
        if person.is_new:
            return False
        if person.id not in self._attempted:
            self._attempted[person.id] = was_attempted(self.tx, person.id)
        return self._attempted[person.id]

    def by_prefix(self, prefix: str) -> Conversion | None:
        """The conversion that owns the one key beginning with `prefix`; None where there is none, or more than one."""
        found = [conversion for key, conversion in self.new_keys.items() if key.startswith(prefix)]
        rows = self.tx.run(
            "SELECT key FROM dedupe_keys WHERE key >= ? AND key < ? ORDER BY key LIMIT 2",
            prefix,
            prefix + "\x7f",
        ).all()
        if len(found) + len(rows) != 1:
            return None
        if rows:
            self._load_keys([rows[0][0]])
            return self.keys[rows[0][0]]
        return found[0]

    def has_lead(self, person: Person) -> bool:
        """Whether a Lead of this person was counted."""
        if any(c.kind == "lead" and c.state == "counted" and c.person is person for c in self.new_conversions):
            return True
        row = self.tx.run(
            "SELECT 1 FROM conversions WHERE person_id = ? AND kind = 'lead' AND state = 'counted' LIMIT 1",
            person.id,
        ).first()
        return row is not None

    def is_taken(self, key: str) -> bool:
        """Whether a dedupe key belongs to a conversion already."""
        if key not in self.keys and key not in self.new_keys:
            self._load_keys([key])
        return key in self.keys or key in self.new_keys

    def unattempted(self, conversion: Conversion) -> bool:
        """Whether none of its deliveries was tried yet, so that its facts may still change."""
        if conversion.is_new:
            return True
        lock = self.tx.for_update  # so that no worker claims them before this is over
        rows = self.tx.run(
            f"SELECT attempts, claim, due_at FROM deliveries WHERE conversion_id = ? ORDER BY id{lock}",
            conversion.id,
        ).all()
        return all(attempts == 0 and claim is None and due_at is not None for attempts, claim, due_at in rows)

    def surviving(self, conversion: Conversion) -> Conversion:
        """What became of `conversion`: itself, unless it turned out to be another one."""
        while conversion.id in self.dropped:
            conversion = self.dropped[conversion.id]
        return conversion

    def load_conversions(self, ids: Sequence[int]) -> None:
        """Makes sure that these are in `conversions`."""
        missing = sorted({identity for identity in ids if identity not in self.conversions})
        if not missing:
            return
        condition, value = self.tx.among("c.id", missing)
        statement = (
            f"SELECT {_CONVERSION}, {_PERSON} FROM conversions c LEFT JOIN persons p ON p.id = c.person_id"
            f" WHERE {condition}"
        )
        for row in self.tx.run(statement, value).all():
            self._conversion(row)

    def person(self, person_id: int) -> Person:
        """The person with this id, who is there."""
        if person_id not in self.persons:
            statement = f"SELECT {_PERSON} FROM persons p WHERE p.id = ?"
            self._person(self.tx.run(statement, person_id).one())
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

    def _conversion(self, row: Sequence[Any]) -> Conversion:
        """The one conversion of `row`: its columns, then those of its person."""
        known = self.conversions.get(row[0])
        if known is None:
            identity, state, kind, source, key, hold, event_id, occurred_at, created_at, facts = row[
                :_CONVERSION_COLUMNS
            ]
            person = self._person(row[_CONVERSION_COLUMNS:]) if row[_CONVERSION_COLUMNS] else None
            known = self.conversions[identity] = Conversion(
                identity, state, kind, source, key, hold, event_id, person, occurred_at, created_at, json.loads(facts)
            )
        return known

    def _person(self, row: Sequence[Any]) -> Person:
        """The one person of `row`."""
        known = self.persons.get(row[0])
        if known is None:
            known = self.persons[row[0]] = Person(*row)
        return known


_CONVERSION = "c.id, c.state, c.kind, c.source, c.dedupe_key, c.hold, c.event_id, c.occurred_at, c.created_at, c.facts"
_CONVERSION_COLUMNS = _CONVERSION.count(",") + 1
_PERSON = "p.id, p.customer_id, p.explicit_id, p.provider_id, p.email, p.name, p.phone, p.click_first, p.click_last"
