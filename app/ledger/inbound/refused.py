"""Reads refused requests by source and reason: how many, when, and over time. Read only, by index and bounded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from app.ledger.alerting.refusals import HOUR_MS, hour_of
from app.ledger.transaction import Tx

Reason = Literal["wrong", "missing", "too old", "in the future", "unreadable"]
REASONS: tuple[Reason, ...] = get_args(Reason)
MOST_BARS = 60
LONGEST_DAYS = 180
DAY_MS = 24 * HOUR_MS
DEFAULT_MS = 7 * DAY_MS
_STEPS_HOURS = (1, 2, 4, 6, 12, 24, 48, 72)
"""How many hours a bar may cover; the smallest with which a row has at most MOST_BARS is taken."""


@dataclass(frozen=True, slots=True)
class RefusalFilter:
    """since: ms; the last seven days where it is None."""

    source: str | None = None
    reason: str | None = None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts over time. start: of the first bar, ms; each covers step_ms."""

    start: int
    step_ms: int
    counts: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Requests of one source that were refused for one reason. first_at, last_at: ms."""

    source: str
    reason: str
    count: int
    first_at: int
    last_at: int
    bars: Bars = field(default=Bars(0, HOUR_MS))


def groups(tx: Tx, wanted: RefusalFilter) -> list[Group]:
    """What was refused, the newest first. Counts are those of whole hours, from the hour of `since` on."""
    now = tx.now()
    since = hour_of(max(wanted.since or now - DEFAULT_MS, now - LONGEST_DAYS * DAY_MS))
    hours = (hour_of(now) - since) // HOUR_MS + 1
    step = next((one for one in _STEPS_HOURS if hours <= one * MOST_BARS), _STEPS_HOURS[-1]) * HOUR_MS
    chosen = {"source": wanted.source, "reason": wanted.reason}
    asked = {name: value for name, value in chosen.items() if value is not None}
    condition = " AND ".join(["hour >= ?", *(f"{name} = ?" for name in asked)])
    rows = tx.run(
        "SELECT source, reason, (hour - ?) / ? AS bar, SUM(count), MIN(COALESCE(first_at, hour)),"
        f" MAX(COALESCE(last_at, hour)) FROM refusals WHERE {condition} GROUP BY source, reason, bar",
        since,
        step,
        since,
        *asked.values(),
    ).all()
    return _grouped(rows, Bars(since, step, [0] * ((hour_of(now) - since) // step + 1)))


def _grouped(rows: Sequence[Any], empty: Bars) -> list[Group]:
    found: dict[tuple[str, str], Group] = {}
    for source, reason, bar, count, first, last in rows:
        known = found.get((source, reason))
        counts = list(known.bars.counts if known else empty.counts)
        counts[min(max(int(bar), 0), len(counts) - 1)] += int(count)
        found[source, reason] = Group(
            source,
            reason,
            sum(counts),
            min(int(first), known.first_at if known else int(first)),
            max(int(last), known.last_at if known else 0),
            replace(empty, counts=counts),
        )
    return sorted(found.values(), key=lambda one: (-one.last_at, one.source, one.reason))
