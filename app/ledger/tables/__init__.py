"""The ledger's tables. All times are whole milliseconds since 1970 UTC, by the database's clock (`…_at`).

A delivery is open while `due_at` is set and closed when it is NULL; the partial indexes hold only the open ones, so a ledger
of a million closed deliveries is searched as fast as an empty one.
"""

from app.ledger.tables.access import api_tokens, users
from app.ledger.tables.base import LARGEST_ID, metadata
from app.ledger.tables.conversions import (
    KEY_KINDS,
    PERSON_FACTS,
    TABLES_OF_EVENTS,
    attempts,
    conflicts,
    conversions,
    dedupe_keys,
    deliveries,
    dismissals,
    event_facts,
    events,
    fill_ins,
    identifiers,
    marks,
    persons,
    refunds,
    remembered,
    stale_payloads,
)
from app.ledger.tables.inbound import last_refusals, quarantine, refused_minutes
from app.ledger.tables.operation import alerts, audit, counters, destinations, refusals, sandbox_requests, workers

__all__ = [
    "KEY_KINDS",
    "LARGEST_ID",
    "PERSON_FACTS",
    "TABLES_OF_EVENTS",
    "alerts",
    "api_tokens",
    "attempts",
    "audit",
    "conflicts",
    "conversions",
    "counters",
    "dedupe_keys",
    "deliveries",
    "destinations",
    "dismissals",
    "event_facts",
    "events",
    "fill_ins",
    "identifiers",
    "last_refusals",
    "marks",
    "metadata",
    "persons",
    "quarantine",
    "refunds",
    "refusals",
    "refused_minutes",
    "remembered",
    "sandbox_requests",
    "stale_payloads",
    "users",
    "workers",
]
