"""The changes a group of events makes, on top of what was read for it. It decides nothing: record.py does, and flush.py writes
the changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.clicks import EMPTY
from app.ledger.recording.arrival import Conflict, Conversion, NewEvent, Route
from app.ledger.recording.known.event_facts import Row
from app.ledger.recording.known.loaded import Loaded
from app.ledger.recording.payload import render
from app.persons import Identifier, Person


@dataclass(slots=True)
class Snapshot(Loaded):
    """The part of the ledger that a group of events touches, with their changes."""

    new_events: list[NewEvent] = field(default_factory=list)
    new_facts: list[dict[str, Any]] = field(default_factory=list)
    """Rows of event_facts."""
    settled: dict[int, Conversion] = field(default_factory=dict)
    """IDs of parked events whose conversion another event counted."""
    counted: dict[int, Conversion] = field(default_factory=dict)
    """Parked events, by their ids, that count after all: another event says whose they are."""
    new_keys: dict[str, Conversion] = field(default_factory=dict)
    new_conversions: list[Conversion] = field(default_factory=list)
    new_persons: list[Person] = field(default_factory=list)
    new_identifiers: dict[tuple[str, str, int], Person] = field(default_factory=dict)
    seen_again: dict[tuple[str, str, int], Person] = field(default_factory=dict)
    merged: list[Person] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    marks: list[tuple[Any, ...]] = field(default_factory=list)
    adjusted: list[Conversion] = field(default_factory=list)
    """Conversions that have marks, or turned out to."""
    released: list[Person] = field(default_factory=list)
    """People who are now fully identified: conversions held for that can go."""
    claimed: list[Conversion] = field(default_factory=list)
    """Held conversions whose awaited event arrived."""
    withdrawn: list[tuple[Conversion, Conversion]] = field(default_factory=list)
    """Unsent counted conversions that turned out to duplicate another one, each with that one."""
    sent_twice: list[tuple[Conversion, Conversion]] = field(default_factory=list)
    """Duplicates found after both were sent: both keep their keys."""

    def render(self, conversion: Conversion, route: Route, *, other_touch: bool = False) -> tuple[str, str | None]:
        """What `route` sends for a conversion, as things are known now (see payload.render). other_touch: with the other click than
        that of its touch."""
        facts = conversion.facts
        if refund := facts.get("refund"):
            lowered = refund.get("lowered", {}).get(route.name, 0)
        else:
            lowered = facts.get("refunded", 0) if route.lower_sales else 0
        first_touch, net_of_tax = route.first_touch != other_touch, route.net_of_tax
        return render(conversion, route.format, first_touch=first_touch, net_of_tax=net_of_tax, lowered=lowered)

    def find(self, identifier: Identifier) -> Sequence[Person]:
        return self.found.get(identifier, ())

    def owners(self, keys: Sequence[str], prefixes: Sequence[str]) -> list[Conversion]:
        """The conversions that own these keys, or the one key that begins with one of `prefixes`; each once."""
        owners: dict[Conversion, None] = {}
        for key in keys:
            owner = self.new_keys.get(key) or self.keys.get(key)
            if owner is not None:
                owners[owner] = None
        for prefix in prefixes:
            owner = self.by_prefix(prefix)
            if owner is not None:
                owners[owner] = None
        return list(owners)

    def claim_keys(self, keys: Sequence[str], conversion: Conversion) -> list[str]:
        """Gives the unowned keys to `conversion`, and returns them."""
        free = [key for key in keys if key not in self.keys and key not in self.new_keys]
        self.new_keys.update(dict.fromkeys(free, conversion))
        return free

    def add_facts(self, event_id: int, rows: Iterable[Row]) -> None:
        """Stages what an event says, for event_facts."""
        for value, kind, given in rows:
            self.new_facts.append({"value": value, "kind": kind, "event_id": event_id, "given": given})

    def settle(self, event_id: int, conversion: Conversion) -> None:
        """Another event counted a parked event's conversion."""
        staged = next((event for event in self.new_events if event.id == event_id), None)
        if staged is None:
            self.settled[event_id] = conversion
        elif staged.outcome == "parked":
            staged.outcome, staged.reason = "duplicate", conversion.settled_reason
            staged.conversion, staged.person = conversion, conversion.person

    def count(self, event_id: int, conversion: Conversion) -> None:
        """`conversion` is counted by a parked event."""
        staged = next((event for event in self.new_events if event.id == event_id), None)
        if staged is None:
            self.counted[event_id] = conversion
        else:
            staged.outcome, staged.reason = conversion.kind, conversion.named_reason
            staged.conversion, staged.person = conversion, conversion.person

    def absorb(self, first: Conversion, other: Conversion) -> None:
        """Joins `other` into `first`, which takes over its keys."""
        self.dropped[other.id] = first
        self._hand_over(first, other)

    def withdraw(self, first: Conversion, other: Conversion) -> None:
        """Joins `other` into `first`, which takes over its keys. `other` is not sent; what was recorded of it stays."""
        self.withdrawn.append((other, first))
        other.deliver_at = None
        self._hand_over(first, other)

    def _hand_over(self, first: Conversion, other: Conversion) -> None:
        for keys in (self.keys, self.new_keys):
            for key, conversion in keys.items():
                if conversion is other:
                    keys[key] = first

    def add_person(self) -> Person:
        person = Person(self.next_id(), clicks=EMPTY, is_new=True)
        self.new_persons.append(person)
        return person

    def remember(self, identifier: Identifier, person: Person) -> None:
        """Records that `identifier` was last seen with `person`."""
        known, row = self.found.get(identifier), (*identifier, person.id)
        if known is None:
            self.found[identifier], self.new_identifiers[row] = [person], person
            return
        owners = [owner.survivor() for owner in known]
        if person not in owners:
            self.new_identifiers[row] = person
            known.insert(0, person)
        elif owners[0] is not person:
            known.insert(0, known.pop(owners.index(person)))
            if row not in self.new_identifiers:
                self.seen_again[row] = person

    def is_taken(self, key: str) -> bool:
        """Whether a conversion already owns a dedupe key."""
        if key not in self.keys and key not in self.new_keys:
            self._load_keys([key])
        return key in self.keys or key in self.new_keys

    def by_prefix(self, prefix: str) -> Conversion | None:
        """The conversion that owns the only key beginning with `prefix`; None if there is no such key, or several."""
        owners = [conversion for key, conversion in self.new_keys.items() if key.startswith(prefix)]
        rows = self.tx.run(
            "SELECT key FROM dedupe_keys WHERE key >= ? AND key < ? ORDER BY key LIMIT 2",
            prefix,
            prefix + "\x7f",
        ).all()
        if len(owners) + len(rows) != 1:
            return None
        if rows:
            self._load_keys([rows[0][0]])
            return self.keys[rows[0][0]]
        return owners[0]

    def has_lead(self, person: Person) -> bool:
        """Whether a Lead of this person was counted."""
        if any(c.kind == "lead" and c.state == "counted" and c.person is person for c in self.new_conversions):
            return True
        row = self.tx.run(
            "SELECT 1 FROM conversions WHERE person_id = ? AND kind = 'lead' AND state = 'counted' LIMIT 1",
            person.id,
        ).first()
        return row is not None
