"""Maps recording's objects to table rows, by column name, and back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from app.clicks import from_text, to_text
from app.ledger.recording.arrival import Conversion, NewEvent
from app.ledger.tables import PERSON_FACTS
from app.ledger.transaction import Tx
from app.persons import Person

PERSON = ("id", *PERSON_FACTS)
CONVERSION = (
    "id",
    "state",
    "kind",
    "source",
    "dedupe_key",
    "hold",
    "event_id",
    "occurred_at",
    "created_at",
    "facts",
)
"""Columns to read, named as the fields of Person and Conversion."""


def columns_of(names: Sequence[str], alias: str) -> str:
    """The columns `names` of a table with this alias, for a SELECT."""
    return ", ".join(f"{alias}.{name}" for name in names)


def read_person(values: Sequence[Any]) -> Person:
    """Builds a person from values in the order of PERSON."""
    fields = dict(zip(PERSON, values, strict=True))
    return Person(**fields | {"clicks": from_text(fields["clicks"])})


def read_conversion(values: Sequence[Any], person: Person | None, tx: Tx) -> Conversion:
    """Builds a conversion from values in the order of CONVERSION."""
    fields = dict(zip(CONVERSION, values, strict=True))
    return Conversion(**fields | {"facts": json.loads(tx.unseal_facts(fields["facts"])), "person": person})


def person_row(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "customer_id": person.customer_id,
        "explicit_id": person.explicit_id,
        "provider_id": person.provider_id,
        "email": person.email,
        "name": person.name,
        "phone": person.phone,
        "click_first": person.click_first,
        "click_last": person.click_last,
        "clicks": to_text(person.clicks) if person.clicks else None,
    }


def conversion_row(conversion: Conversion) -> dict[str, Any]:
    is_sent = conversion.state == "counted" and conversion.kind != "refund"
    return {
        "id": conversion.id,
        "state": conversion.state,
        "kind": conversion.kind,
        "source": conversion.source,
        "dedupe_key": conversion.dedupe_key,
        "hold": conversion.hold,
        "event_id": conversion.event_id,
        "person_id": conversion.person.survivor().id if conversion.person else None,
        "occurred_at": conversion.occurred_at,
        "created_at": conversion.created_at,
        "facts": to_json(conversion.facts).decode(),
        "clicked": int(conversion.has_click) if is_sent else None,
    }


def outcome_row(event: NewEvent, surviving: Mapping[int, Conversion]) -> dict[str, Any]:
    """The outcome columns of an event. surviving: joined conversions, by ID."""
    conversion = event.conversion
    while conversion is not None and conversion.id in surviving:
        conversion = surviving[conversion.id]
    return {
        "id": event.id,
        "outcome": event.outcome,
        "reason": event.reason,
        "conversion_id": conversion.id if conversion else None,
        "person_id": event.person.survivor().id if event.person else None,
    }


def event_row(event: NewEvent, surviving: Mapping[int, Conversion], now: int, repeats: int) -> dict[str, Any]:
    """The row of a new event. now: ms; repeats: how often it was repeated within the group."""
    arrival = event.arrival
    return outcome_row(event, surviving) | {
        "event_key": arrival.event_key,
        "source": arrival.source,
        "event_id": arrival.mapped.event_id,
        "event_type": arrival.mapped.event_type,
        "received_at": int(arrival.received_at.timestamp() * 1000),
        "received_count": 1 + repeats,
        "last_received_at": now,
        "headers": to_json(arrival.headers).decode(),
        "body": arrival.inbound.body,
    }
