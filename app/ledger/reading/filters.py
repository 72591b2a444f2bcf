"""Filters that lists accept, and the pages they return."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.model import DELIVERY_KINDS


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. since and until in ms; text is what was searched for (see search.find for whole_addresses); destination: one
    that their conversion has a delivery to."""

    outcome: str | None = None
    source: str | None = None
    destination: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    whole_addresses: bool = False


FAILED = ("dead", "retrying")

_FAILED = "d.status IN ('dead', 'retrying') AND d.status = ?"
"""As the index ix_deliveries_failed says it, by which SQLite sees that the index will do."""

SCAN = 10_000

MOST = 500
"""Persons, conversions or events that one search finds at most."""

KINDS = DELIVERY_KINDS


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries. since and until in ms; reason is the exact error, "" for none; text is what was searched for (see
    `find` for whole_addresses), and delivery_ids what it leads to, where that is known already (`resolve`)."""

    statuses: Sequence[str] = FAILED
    source: str | None = None
    kind: str | None = None
    destination: str | None = None
    code: int | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    whole_addresses: bool = False
    delivery_ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a searched text names."""

    person_ids: Sequence[int] = ()
    conversion_ids: Sequence[int] = ()
    event_ids: Sequence[int] = ()
    delivery_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows, newest first. next_before: where the next page goes on, None at the end."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    next_before: int | None = None
