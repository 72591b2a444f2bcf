"""What a group of events needs to know of the ledger, read in two round trips, and what it is to change.

Nothing here decides anything: record.py does, on these plain objects; flush.py writes them down.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.ledger.reading.by_key import was_attempted
from app.ledger.recording.arrival import Arrival, Conversion, NewEvent, Route, SeenEvent
from app.ledger.recording.event_facts import EventFacts, Row
from app.ledger.recording.payload import render, shown_of
from app.ledger.tables import KEY_KINDS
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
    facts: dict[str, list[EventFacts]] = field(default_factory=dict)
    """What events that counted nothing say under these keys (as fact_key makes them), the oldest first."""
    new_events: list[NewEvent] = field(default_factory=list)
    new_facts: list[tuple[int, Row]] = field(default_factory=list)
    settled: dict[int, Conversion] = field(default_factory=dict)
    """Parked events, by their ids in the ledger, whose purchase or submission was counted by another event."""
    new_keys: dict[str, Conversion] = field(default_factory=dict)
    new_conversions: list[Conversion] = field(default_factory=list)
    new_persons: list[Person] = field(default_factory=list)
    new_identifiers: dict[tuple[str, str, int], Person] = field(default_factory=dict)
    seen_again: dict[tuple[str, str, int], Person] = field(default_factory=dict)
    merged: list[Person] = field(default_factory=list)
    conflicts: list[tuple[int, Person | None, Conversion | None, str, str | None]] = field(default_factory=list)
    marks: list[tuple[Any, ...]] = field(default_factory=list)
    released: list[Person] = field(default_factory=list)
    """Persons who are named for good now: what is held for want of that may go."""
    claimed: list[Conversion] = field(default_factory=list)
    """Held conversions for which the event came that they were waiting for."""
    dropped: dict[int, Conversion] = field(default_factory=dict)
    """Conversions that turned out to be another one, by their ids."""
    withdrawn: list[tuple[Conversion, Conversion]] = field(default_factory=list)
    """Counted conversions that turned out to be another counted one before they were sent, each with that one."""
    sent_twice: list[tuple[Conversion, Conversion]] = field(default_factory=list)
    """Those that turned out to be another one after both were sent somewhere: both keep their keys."""
    _ids: list[int] = field(default_factory=list)
    _attempted: dict[int, bool] = field(default_factory=dict)
    shown: dict[int, tuple[str | None, ...]] = field(default_factory=dict)
    """What payloads showed of each person when it was read (shown_of)."""

    def is_first_touch(self, route: Route) -> bool:
        return self.first_touch if route.first_touch is None else route.first_touch

    def render(self, conversion: Conversion, route: Route) -> tuple[str, str | None]:
        """What `route` is sent of a conversion as things are known now (see payload.render)."""
        return render(conversion, route.format, first_touch=self.is_first_touch(route))

    def load(
        self,
        arrivals: Sequence[Arrival],
        keys: Sequence[str],
        fact_keys: Sequence[str],
        identifiers: Sequence[Identifier],
        beginnings: Sequence[str] = (),
    ) -> None:
        """Reads all that `arrivals` may meet. Locks it, on PostgreSQL, until the transaction ends.

        beginnings: of keys that are known cut off, and of whole keys of that kind; locked only, so that both are not recorded at
        the same moment by two writers that do not see each other.
        """
        event_keys = [arrival.event_key for arrival in arrivals]
        names = [*event_keys, *keys, *fact_keys, *beginnings, *(f"{kind}={value}" for kind, value in identifiers)]
        look, values = self._look(event_keys, keys, fact_keys, [value for _, value in identifiers])
        self.now, ids, rows = self.tx.enter(names, IDS_AN_EVENT * len(arrivals), look, *values)
        self._ids, wanted, held = ids[::-1], set(identifiers), set[int]()
        self._read(rows, wanted)
        while not self.tx.is_sqlite and not self.persons.keys() <= held:
            # One person has many identifiers, and another writer may be at work on this one under those that we did not lock.
            held |= self.persons.keys()
            for known in (self.events, self.keys, self.facts, self.found, self.persons, self.conversions):
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
            elif what == "fact":
                self._add_fact(name, *fields)
            elif (identifier := (fields[0], name)) in wanted:
                owners.append((fields[1], identifier, fields[2:]))
        for _, identifier, row in sorted(owners, key=lambda owner: -owner[0]):  # the one last seen with it first
            self.found.setdefault(identifier, []).append(self._person(row))

    def _add_fact(
        self, key: str, event_id: int, outcome: str, key_kind: str, value: str, kind: str, *rest: Any
    ) -> None:
        known = self.facts.setdefault(key, [])
        facts = next((one for one in known if one.event_id == event_id), None)
        if facts is None:
            person = self._person(rest[1:]) if rest[1] is not None else None
            facts = EventFacts(event_id, outcome, key_kind, person)
            known.append(facts)
            known.sort(key=lambda one: one.event_id)
        facts.rows.append((value, kind, rest[0]))

    def _look(
        self, event_keys: Sequence[str], keys: Sequence[str], fact_keys: Sequence[str], values: Sequence[str]
    ) -> tuple[str, list[Any]]:
        """The statement, and its values, that finds (what, name, fields) of all that is known by one of these. The fields are
        JSON, so that one statement serves three tables."""
        array = "json_array" if self.tx.is_sqlite else "json_build_array"
        events, keyed, learned, owned = (
            self.tx.among(column, wanted)
            for column, wanted in (
                ("event_key", event_keys),
                ("k.key", keys),
                ("n.value", fact_keys),
                ("i.value", values),
            )
        )
        kinds = ", ".join(f"'{kind}'" for kind in KEY_KINDS)
        statement = (
            f"SELECT 'event', event_key, {array}(id, outcome, conversion_id) FROM events WHERE {events[0]}"
            f" UNION ALL SELECT 'key', k.key, {array}({_CONVERSION}, {_PERSON}) FROM dedupe_keys k"
            f" JOIN conversions c ON c.id = k.conversion_id LEFT JOIN persons p ON p.id = c.person_id WHERE {keyed[0]}"
            f" UNION ALL SELECT 'fact', n.value, {array}(n.event_id, e.outcome, n.kind, f.value, f.kind, f.given, {_PERSON})"
            f" FROM event_facts n JOIN event_facts f ON f.event_id = n.event_id JOIN events e ON e.id = n.event_id"
            f" LEFT JOIN persons p ON p.id = e.person_id WHERE {learned[0]} AND n.kind IN ({kinds})"
            f" UNION ALL SELECT 'identifier', i.value, {array}(i.kind, i.seen_at, {_PERSON}) FROM identifiers i"
            f" JOIN persons p ON p.id = i.person_id WHERE {owned[0]}"
        )
        return statement, [events[1], keyed[1], learned[1], owned[1]]

    def load_identifiers(self, identifiers: Sequence[Identifier]) -> None:
        """Reads, and locks, the persons of identifiers that became known only after `load`."""
        missing = [identifier for identifier in identifiers if identifier not in self.found]
        if not missing:
            return
        self.tx.lock([f"{kind}={value}" for kind, value in missing])
        condition, values = self.tx.among("i.value", [value for _, value in missing])
        lock = "" if self.tx.is_sqlite else " FOR UPDATE OF p"
        rows = self.tx.run(
            f"SELECT i.kind, i.value, {_PERSON} FROM identifiers i JOIN persons p ON p.id = i.person_id"
            f" WHERE {condition} ORDER BY i.seen_at DESC{lock}",
            values,
        ).all()
        for kind, value, *row in rows:
            if (kind, value) in missing:
                self.found.setdefault((kind, value), []).append(self._person(row))

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

    def claim_keys(self, keys: Sequence[str], conversion: Conversion) -> list[str]:
        """Those of `keys` that nobody owns become those of `conversion`. Returns them."""
        free = [key for key in keys if key not in self.keys and key not in self.new_keys]
        self.new_keys.update(dict.fromkeys(free, conversion))
        return free

    def settle(self, event_id: int, conversion: Conversion) -> None:
        """What a parked event wanted to count was counted by another one."""
        staged = next((one for one in self.new_events if one.id == event_id), None)
        if staged is None:
            self.settled[event_id] = conversion
        elif staged.outcome == "parked":
            staged.outcome, staged.reason = "duplicate", conversion.settled_reason
            staged.conversion, staged.person = conversion, conversion.person

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

    def sent_to(self, conversion: Conversion) -> frozenset[str] | None:
        """The destinations for which it is too late to withdraw it: it was tried there, or closed by somebody. None where it has
        no deliveries (retention removed them), so that nobody knows."""
        if conversion.is_new:
            return frozenset()
        lock = self.tx.for_update  # so that no worker claims them before this is over
        rows = self.tx.run(
            f"SELECT destination, attempts, claim, due_at FROM deliveries WHERE conversion_id = ? ORDER BY id{lock}",
            conversion.id,
        ).all()
        if not rows:
            return None
        return frozenset(row[0] for row in rows if row[1] > 0 or row[2] is not None or row[3] is None)

    def unattempted(self, conversion: Conversion) -> bool:
        """Whether none of its deliveries was tried yet, so that its facts may still change."""
        return self.sent_to(conversion) == frozenset()

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
            self.shown[known.id] = shown_of(known)
        return known


_CONVERSION = "c.id, c.state, c.kind, c.source, c.dedupe_key, c.hold, c.event_id, c.occurred_at, c.created_at, c.facts"
_CONVERSION_COLUMNS = _CONVERSION.count(",") + 1
_PERSON = "p.id, p.customer_id, p.explicit_id, p.provider_id, p.email, p.name, p.phone, p.click_first, p.click_last"
