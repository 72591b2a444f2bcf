"""Filters that lists accept, and the pages they return."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from app.model import DELIVERY_KINDS, STATUSES
from app.times import iso


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
    click: str | None = None
    """"none": their conversion carries no click ID."""


FAILED = ("dead", "retrying")

_FAILED = "d.status IN ('dead', 'retrying') AND d.status = ?"
"""Written like the index ix_deliveries_failed, so that SQLite uses it."""

SCAN = 10_000
DELIVERED_WITHIN_MS = 7 * 86_400_000

MOST = 500
"""The most people, conversions or events that one search finds."""

KINDS = DELIVERY_KINDS


@dataclass(frozen=True, slots=True)
class AsOf:
    """A moment of the ledger: at (ms), and the highest IDs then (row: of events and deliveries; line: of the audit log)."""

    at: int
    row: int
    attempt: int
    line: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The moment that `str` wrote; None if it is not one."""
        return cls(*map(int, text.split("-"))) if _AS_OF.fullmatch(text) else None

    def __str__(self) -> str:
        return f"{self.at}-{self.row}-{self.attempt}-{self.line}"


_AS_OF = re.compile("[0-9]{1,18}(-[0-9]{1,18}){3}")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries. since and until: ms. reason: the exact error, "" for none. text: the search text (see search.find for
    whole_addresses). delivery_ids: what the text matches, if known already (`resolve`). delivered_since, delivered_until: ms, of
    what was delivered at most DELIVERED_WITHIN_MS after it was recorded."""

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
    delivered_since: int | None = None
    delivered_until: int | None = None
    click: str | None = None
    """"none": without a click ID."""
    as_of: AsOf | None = None
    """Only those that match already at that moment."""

    def in_words(self) -> str:
        """The filter as a sentence for the audit log, without the text of a search, which may be personal data."""
        asked = [("/".join(self.statuses))] if len(self.statuses) < len(STATUSES) else []
        named = {"source": self.source, "kind": self.kind, "destination": self.destination, "answer": self.code}
        asked += [f"{name} {value}" for name, value in named.items() if value is not None]
        asked += ["no click ID"] if self.click is not None else []
        asked += ["a reason"] if self.reason is not None else []
        times = {
            "since": self.since,
            "until": self.until,
            "delivered since": self.delivered_since,
            "delivered until": self.delivered_until,
        }
        asked += [f"{name} {iso(moment)}" for name, moment in times.items() if moment is not None]
        return ", ".join([*asked, *(["a search"] if self.text else [])])


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
