"""What a group of events needs to know of the ledger, read in a handful of statements, and what it changes, written in as many.

Nothing here decides anything: app/ledger/recording.py does, on these plain objects.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection

from app.dialects import Dialect
from app.identity import shown_phone
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.standing import was_attempted
from app.model import Facts, Inbound, Lead, Mapped, Rules, Sale
from app.money import Money
from app.persons import Identifier, Person


@dataclass(frozen=True, slots=True)
class Arrival:
    """One verified, mapped event on its way into the ledger. `headers` are those worth keeping, `body` is as received."""

    source: str
    mapped: Mapped
    inbound: Inbound
    headers: dict[str, str]
    received_at: datetime
    recorded_as: int | None = None
    """The ledger's id of this event where it is there already and is mapped anew."""

    @property
    def event_key(self) -> str:
        account = f"{self.mapped.account}:" if self.mapped.account else ""
        return f"{self.source}:{account}{self.mapped.event_id}"


@dataclass(slots=True, eq=False)
class Conversion:
    """A row of conversions, or one to be."""

    id: int
    state: str
    kind: str
    source: str
    dedupe_key: str
    hold: str
    event_id: int
    person: Person | None
    occurred_at: int
    created_at: int
    facts: dict[str, Any]
    is_new: bool = False
    is_changed: bool = False
    deliver_at: int | None = None
    """Set where deliveries are to be made of it: when they are due."""


@dataclass(slots=True)
class SeenEvent:
    """An event that is in the ledger already, or staged."""

    id: int
    outcome: str
    conversion_id: int | None
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """One destination that new deliveries go to. sources: None for all."""

    name: str
    dialect: Dialect
    kinds: frozenset[str] = frozenset({"sale", "lead"})
    sources: frozenset[str] | None = None

    def takes(self, kind: str, source: str) -> bool:
        """Whether its filter lets a conversion of this kind and source through."""
        return kind in self.kinds and (self.sources is None or source in self.sources)


@dataclass(slots=True, eq=False)
class NewEvent:
    id: int
    arrival: Arrival
    outcome: str
    reason: str
    conversion: Conversion | None
    person: Person | None


@dataclass(slots=True)
class Snapshot:
    """The state of the ledger as far as a group of events is concerned."""

    ledger: Ledger
    connection: Connection
    rules: Rules
    routes: Sequence[Route]
    now: int
    first_touch: bool = True
    expected_ids: int = 4
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
    _ids: list[int] = field(default_factory=list)
    _attempted: dict[int, bool] = field(default_factory=dict)

    def load(self, arrivals: Sequence[Arrival], keys: Sequence[str], identifiers: Sequence[Identifier]) -> None:
        """Reads all that `arrivals` may meet. Locks it, on PostgreSQL, until the transaction ends."""
        ledger, connection = self.ledger, self.connection
        event_keys = [arrival.event_key for arrival in arrivals]
        ledger.lock(connection, [*event_keys, *keys, *(f"{kind}={value}" for kind, value in identifiers)])
        condition, value = ledger.among("event_key", event_keys)
        for key, *rest in ledger.run(
            connection,
            f"SELECT event_key, id, outcome, conversion_id FROM events WHERE {condition}",
            value,
        ):
            self.events[key] = SeenEvent(*rest)
        if keys:
            self._load_keys(keys)
        if identifiers:
            self._load_persons(identifiers)

    def next_id(self) -> int:
        """A fresh id, ascending within the group."""
        if not self._ids:
            self._ids = self.ledger.reserve_ids(self.connection, self.expected_ids)[::-1]
        return self._ids.pop()

    def find(self, identifier: Identifier) -> Sequence[Person]:
        return self.found.get(identifier, ())

    def attempted(self, person: Person) -> bool:
        """Whether anything of this person was ever tried to be sent."""
        if person.is_new:
            return False
        if person.id not in self._attempted:
            self._attempted[person.id] = was_attempted(self.ledger, self.connection, person.id)
        return self._attempted[person.id]

    def by_prefix(self, prefix: str) -> Conversion | None:
        """The conversion that owns the one key beginning with `prefix`; None where there is none, or more than one."""
        found = [conversion for key, conversion in self.new_keys.items() if key.startswith(prefix)]
        rows = self.ledger.run(
            self.connection,
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
        row = self.ledger.run(
            self.connection,
            "SELECT 1 FROM conversions WHERE person_id = ? AND kind = 'lead' AND state = 'counted' LIMIT 1",
            person.id,
        ).first()
        return row is not None

    def deferred_leads(self, person: Person) -> list[Conversion]:
        """The Leads of this person that were sent deferred."""
        found = [c for c in self.new_conversions if c.person is person]
        if not person.is_new:
            rows = self.ledger.run(
                self.connection, "SELECT id FROM conversions WHERE person_id = ? AND kind = 'lead'", person.id
            )
            ids = list(rows.scalars())
            self._load_conversions(ids)
            found += [self.conversions[identity] for identity in ids]
        return [c for c in found if c.state == "counted" and c.facts["lead"] and c.facts["lead"]["mode"] == "deferred"]

    def is_taken(self, key: str) -> bool:
        """Whether a dedupe key belongs to a conversion already."""
        if key not in self.keys and key not in self.new_keys:
            self._load_keys([key])
        return key in self.keys or key in self.new_keys

    def unattempted(self, conversion: Conversion) -> bool:
        """Whether none of its deliveries was tried yet, so that its facts may still change."""
        if conversion.is_new:
            return True
        row = self.ledger.run(
            self.connection,
            "SELECT 1 FROM deliveries WHERE conversion_id = ? AND (attempts > 0 OR claim IS NOT NULL OR due_at IS NULL) LIMIT 1",
            conversion.id,
        ).first()
        return row is None

    def flush(self) -> None:
        """Writes everything staged."""
        ledger, connection = self.ledger, self.connection
        fresh = [_person_row(p, self.now) for p in self.new_persons if p.merged_into is None]
        ledger.insert(connection, tables.persons, _PERSON, fresh)
        self._flush_persons()
        self._flush_conversions()
        fresh_events = [self._event_row(e) for e in self.new_events if e.arrival.recorded_as is None]
        ledger.insert(connection, tables.events, _EVENT, fresh_events)
        remapped = [(*self._event_row(e)[5:9], e.id) for e in self.new_events if e.arrival.recorded_as is not None]
        statement = "UPDATE events SET outcome = ?, reason = ?, conversion_id = ?, person_id = ? WHERE id = ?"
        ledger.run_many(connection, statement, remapped)
        repeats = [(e.repeats, self.now, e.id) for e in self.events.values() if e.repeats]
        ledger.run_many(
            connection,
            "UPDATE events SET received_count = received_count + ?, last_received_at = ? WHERE id = ?",
            repeats,
        )
        for row in self.marks:
            ledger.run(connection, _MARK, *row)
        for event_id, person, conversion, reason in self.conflicts:
            person_id = person.survivor().id if person else None
            if not ledger.run(
                connection, "SELECT 1 FROM conflicts WHERE person_id = ? AND reason = ?", person_id, reason
            ).first():
                row = (self.now, event_id, person_id, conversion.id if conversion else None, reason)
                ledger.insert(connection, tables.conflicts, _CONFLICT, [row])

    def render(self, conversion: Conversion, dialect: Dialect) -> str:
        """The exact text to send for `conversion` as things are known now."""
        assert conversion.person is not None
        person, facts = conversion.person.survivor(), conversion.facts
        click = person.click_first if self.first_touch else person.click_last
        rendered = dialect.render(
            Facts(
                kind="lead" if conversion.kind == "lead" else "sale",
                occurred_at=datetime.fromtimestamp(conversion.occurred_at / 1000, UTC),
                customer_id=person.customer_id or "",
                click_id=None if facts.get("follows") else click or facts["click_id"],
                email=facts["email"] or person.email,
                name=facts["name"] or person.name,
                phone=facts["phone"] or person.phone,
                sale=_sale(facts["sale"]),
                lead=Lead(**facts["lead"]) if facts["lead"] else None,
            )
        )
        return to_json(rendered).decode()

    def _load_keys(self, keys: Sequence[str]) -> None:
        condition, value = self.ledger.among("key", keys)
        rows = self.ledger.run(
            self.connection,
            f"SELECT key, conversion_id FROM dedupe_keys WHERE {condition}",
            value,
        ).all()
        self._load_conversions([row[1] for row in rows])
        for key, conversion_id in rows:
            self.keys.setdefault(key, self._surviving(self.conversions[conversion_id]))

    def _load_conversions(self, ids: Sequence[int]) -> None:
        missing = sorted({identity for identity in ids if identity not in self.conversions})
        if not missing:
            return
        condition, value = self.ledger.among("id", missing)
        for row in self.ledger.run(
            self.connection,
            f"SELECT {', '.join(_CONVERSION)} FROM conversions WHERE {condition}",
            value,
        ).all():
            identity, state, kind, source, dedupe_key, hold, event_id, person_id, occurred_at, created_at, facts = row
            person = self._person(person_id) if person_id else None
            self.conversions[identity] = Conversion(
                identity,
                state,
                kind,
                source,
                dedupe_key,
                hold,
                event_id,
                person,
                occurred_at,
                created_at,
                json.loads(facts),
            )

    def _load_persons(self, identifiers: Sequence[Identifier]) -> None:
        condition, parameter = self.ledger.among("value", [value for _, value in identifiers])
        wanted = set(identifiers)
        for kind, value, person_id in self.ledger.run(
            self.connection,
            f"SELECT kind, value, person_id FROM identifiers WHERE {condition} ORDER BY seen_at DESC",
            parameter,
        ).all():
            if (kind, value) in wanted:
                self.found.setdefault((kind, value), []).append(self._person(person_id))

    def _person(self, person_id: int) -> Person:
        if person_id not in self.persons:
            row = self.ledger.run(
                self.connection,
                f"SELECT {', '.join(_PERSON[:9])} FROM persons WHERE id = ?",
                person_id,
            ).one()
            self.persons[person_id] = Person(*row)
        return self.persons[person_id]

    def _flush_persons(self) -> None:
        ledger, connection = self.ledger, self.connection
        for loser in self.merged:
            if not loser.is_new:
                _merge(ledger, connection, loser.id, loser.survivor().id, self.now)
        changed = [p for p in self.persons.values() if p.is_changed and not p.is_new and p.merged_into is None]
        statement = f"UPDATE persons SET {', '.join(f'{c} = ?' for c in _PERSON[1:9])} WHERE id = ?"
        ledger.run_many(connection, statement, [(*_person_row(p, 0)[1:9], p.id) for p in changed])
        rows = {(kind, value, person.survivor().id) for (kind, value, _), person in self.new_identifiers.items()}
        statement = (
            "INSERT INTO identifiers (kind, value, person_id, seen_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        ledger.run_many(connection, statement, [(*row, self.now) for row in sorted(rows)])
        seen = [
            (self.now, kind, value, p.survivor().id)
            for (kind, value, _), p in sorted(self.seen_again.items(), key=_key)
        ]
        statement = "UPDATE identifiers SET seen_at = ? WHERE kind = ? AND value = ? AND person_id = ?"
        ledger.run_many(connection, statement, seen)
        touched = [*changed, *self.released, *(c.person for c in self.claimed if c.person)]
        self._rewrite({p.survivor().id for p in touched if not p.survivor().is_new})

    def _rewrite(self, person_ids: set[int]) -> None:
        """Renders anew what waits for its first attempt and is about persons of whom something was learned."""
        if not person_ids:
            return
        ledger, connection = self.ledger, self.connection
        released = {p.survivor().id for p in self.released}
        condition, parameter = ledger.among("person_id", sorted(person_ids))
        lock = "" if ledger.is_sqlite else " FOR UPDATE"
        rows = ledger.run(
            connection,
            "SELECT id, conversion_id, person_id, destination, payload, due_at, held FROM deliveries"
            f" WHERE {condition} AND due_at IS NOT NULL AND attempts = 0 AND claim IS NULL ORDER BY id{lock}",
            parameter,
        ).all()
        self._load_conversions([row[1] for row in rows])
        dialects = {route.name: route.dialect for route in self.routes}
        changes = []
        for identity, conversion_id, person_id, destination, payload, due_at, held in rows:
            conversion = self.conversions[conversion_id]
            conversion.person = self._person(person_id).survivor()
            text = self.render(conversion, dialects[destination]) if destination in dialects else payload
            goes = held and (conversion in self.claimed or (person_id in released and conversion.hold != "purchase"))
            due = min(due_at, self.now) if goes else due_at
            if text != payload or due != due_at:
                changes.append((text, conversion.dedupe_key, due, 0 if goes else held, identity))
        statement = "UPDATE deliveries SET payload = ?, dedupe_key = ?, due_at = ?, held = ? WHERE id = ?"
        ledger.run_many(connection, statement, changes)

    def _flush_conversions(self) -> None:
        ledger, connection = self.ledger, self.connection
        for loser_id, winner in self.dropped.items():
            ledger.run(
                connection, "UPDATE dedupe_keys SET conversion_id = ? WHERE conversion_id = ?", winner.id, loser_id
            )
            ledger.run(connection, "UPDATE events SET conversion_id = ? WHERE conversion_id = ?", winner.id, loser_id)
            ledger.run(connection, "DELETE FROM conversions WHERE id = ?", loser_id)
        fresh = [c for c in self.new_conversions if c.id not in self.dropped]
        ledger.insert(connection, tables.conversions, _CONVERSION, [_conversion_row(c) for c in fresh])
        changed = [c for c in self.conversions.values() if c.is_changed and not c.is_new and c.id not in self.dropped]
        statement = f"UPDATE conversions SET {', '.join(f'{c} = ?' for c in _CONVERSION[1:])} WHERE id = ?"
        ledger.run_many(connection, statement, [(*_conversion_row(c)[1:], c.id) for c in changed])
        rows = sorted((key, self._surviving(c).id) for key, c in self.new_keys.items())
        ledger.insert(connection, tables.dedupe_keys, ("key", "conversion_id"), rows)
        deliveries: list[tuple[Any, ...]] = []
        for conversion in [*fresh, *changed]:
            if conversion.deliver_at is not None:
                deliveries += self._deliveries(conversion)
        ledger.insert(connection, tables.deliveries, _DELIVERY, deliveries)

    def _surviving(self, conversion: Conversion) -> Conversion:
        while conversion.id in self.dropped:
            conversion = self.dropped[conversion.id]
        return conversion

    def _deliveries(self, conversion: Conversion) -> list[tuple[Any, ...]]:
        assert conversion.person is not None
        assert conversion.deliver_at is not None
        return [
            (
                self.next_id(),
                conversion.id,
                conversion.person.survivor().id,
                conversion.event_id,
                conversion.source,
                conversion.kind,
                route.name,
                conversion.dedupe_key,
                "pending",
                self.render(conversion, route.dialect),
                conversion.deliver_at,
                int(conversion.deliver_at > self.now),
                self.now,
            )
            for route in self.routes
            if route.takes(conversion.kind, conversion.source)
        ]

    def _event_row(self, event: NewEvent) -> tuple[Any, ...]:
        mapped = event.arrival.mapped
        return (
            event.id,
            event.arrival.event_key,
            event.arrival.source,
            mapped.event_id,
            mapped.event_type,
            event.outcome,
            event.reason,
            self._surviving(event.conversion).id if event.conversion else None,
            event.person.survivor().id if event.person else None,
            int(event.arrival.received_at.timestamp() * 1000),
            self.now,
            to_json(event.arrival.headers).decode(),
            event.arrival.inbound.body,
        )


_PERSON = (
    "id",
    "customer_id",
    "explicit_id",
    "provider_id",
    "email",
    "name",
    "phone",
    "click_first",
    "click_last",
    "created_at",
)
_CONVERSION = (
    "id",
    "state",
    "kind",
    "source",
    "dedupe_key",
    "hold",
    "event_id",
    "person_id",
    "occurred_at",
    "created_at",
    "facts",
)
_EVENT = (
    "id",
    "event_key",
    "source",
    "event_id",
    "event_type",
    "outcome",
    "reason",
    "conversion_id",
    "person_id",
    "received_at",
    "last_received_at",
    "headers",
    "body",
)
_DELIVERY = (
    "id",
    "conversion_id",
    "person_id",
    "event_id",
    "source",
    "kind",
    "destination",
    "dedupe_key",
    "status",
    "payload",
    "due_at",
    "held",
    "created_at",
)
_MARK = (
    "INSERT INTO marks (reference, key, kind, status, minor, currency, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (reference, key) DO UPDATE SET status = excluded.status, minor = excluded.minor, at = excluded.at"
    " WHERE excluded.at >= marks.at"
)
_CONFLICT = ("at", "event_id", "person_id", "conversion_id", "reason")


def facts_of(mapped: Mapped, rules: Rules) -> dict[str, Any]:
    """What an event says of its conversion, as it is kept (JSON) until the payload is rendered."""
    sale = mapped.sale
    lead = mapped.lead
    return {
        "click_id": mapped.who.click_id,
        "email": mapped.who.email,
        "name": mapped.who.name,
        "phone": shown_phone(mapped.who.phone, rules.phone_region),
        "sale": sale
        and {
            "invoice_id": sale.invoice_id,
            "minor": sale.money.minor,
            "currency": sale.money.currency,
            "order_id": sale.order_id,
            "event_name": sale.event_name,
            "metadata": dict(sale.metadata),
        },
        "lead": lead
        and {
            "lead_id": lead.lead_id,
            "event_name": lead.event_name,
            "mode": lead.mode,
            "metadata": dict(lead.metadata),
        },
    }


def _sale(kept: dict[str, Any] | None) -> Sale | None:
    if not kept:
        return None
    money = Money(kept["minor"], kept["currency"])
    return Sale(kept["invoice_id"], money, kept["order_id"], kept["event_name"], kept["metadata"])


def _person_row(person: Person, created_at: int) -> tuple[Any, ...]:
    return (
        person.id,
        person.customer_id,
        person.explicit_id,
        person.provider_id,
        person.email,
        person.name,
        person.phone,
        person.click_first,
        person.click_last,
        created_at,
    )


def _conversion_row(conversion: Conversion) -> tuple[Any, ...]:
    return (
        conversion.id,
        conversion.state,
        conversion.kind,
        conversion.source,
        conversion.dedupe_key,
        conversion.hold,
        conversion.event_id,
        conversion.person.survivor().id if conversion.person else None,
        conversion.occurred_at,
        conversion.created_at,
        to_json(conversion.facts).decode(),
    )


def _merge(ledger: Ledger, connection: Connection, loser: int, winner: int, now: int) -> None:
    """Everything of one person becomes another's."""
    for table in ("events", "conversions", "deliveries", "conflicts"):
        ledger.run(connection, f"UPDATE {table} SET person_id = ? WHERE person_id = ?", winner, loser)
    ledger.run(
        connection,
        "INSERT INTO identifiers (kind, value, person_id, seen_at)"
        " SELECT kind, value, CAST(? AS BIGINT), seen_at FROM identifiers WHERE person_id = ? ON CONFLICT DO NOTHING",
        winner,
        loser,
    )
    ledger.run(connection, "DELETE FROM identifiers WHERE person_id = ?", loser)
    ledger.run(connection, "UPDATE persons SET merged_into = ? WHERE id = ?", winner, loser)


def _key(item: tuple[tuple[str, str, int], Person]) -> tuple[str, str, int]:
    return item[0]
