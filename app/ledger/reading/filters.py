"""Filters that lists accept, and the pages they return."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.model import DELIVERY_KINDS


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. since and until: ms. text: the search text (see search.find for whole_addresses). destination: one that
    their conversion has a delivery to."""

    outcome: str | None = None
    source: str | None = None
    destination: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    whole_addresses: bool = False


FAILED = ("dead", "retrying")

_FAILED = "d.status IN ('dead', 'retrying') AND d.status = ?"
"""Written like the index ix_deliveries_failed, so that SQLite uses it."""

SCAN = 10_000

MOST = 500
"""The most people, conversions or events that one search finds."""

KINDS = DELIVERY_KINDS


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries. since and until: ms. reason: the exact error, "" for none. text: the search text (see search.find for
    whole_addresses). delivery_ids: what the text matches, if known already (`resolve`)."""

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
    """What a search text matches."""

    person_ids: Sequence[int] = ()
    conversion_ids: Sequence[int] = ()
    event_ids: Sequence[int] = ()
    delivery_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows, newest first. next_before: where the next page continues, None at the end."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    next_before: int | None = None
