"""Reads refused requests by source and reason: how many, when, and over time. Read only, by index and bounded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from app.ledger.alerting.refusals import HOUR_MS, MINUTE_MS, MINUTES_KEPT_MS
from app.ledger.transaction import Tx

Reason = Literal["wrong", "missing", "too old", "in the future", "unreadable"]
REASONS: tuple[Reason, ...] = get_args(Reason)
MOST_BARS = 60
LONGEST_DAYS = 180
DAY_MS = 24 * HOUR_MS
DEFAULT_MS = 7 * DAY_MS
_STEPS = (1, 2, 3, 4, 6, 12, 24, 48, 72)
"""How many hours (or minutes) a bar may cover; the smallest with which a row has at most MOST_BARS is taken."""


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


def groups(tx: Tx, criteria: RefusalFilter) -> list[Group]:
    """What was refused, the newest first. Counts are those of whole hours, from the hour of `since` on; for the last three hours,
    of whole minutes."""
    now = tx.now()
    since = max(now - DEFAULT_MS if criteria.since is None else criteria.since, now - LONGEST_DAYS * DAY_MS)
    is_short = since >= now - MINUTES_KEPT_MS
    unit = MINUTE_MS if is_short else HOUR_MS
    since = min(since, now) // unit * unit
    bars = (now - since) // unit + 1
    step = next((units for units in _STEPS if bars <= units * MOST_BARS), _STEPS[-1]) * unit
    chosen = {"source": criteria.source, "reason": criteria.reason}
    asked = {name: value for name, value in chosen.items() if value is not None}
    condition = "".join(f" AND {name} = ?" for name in asked)
    statement = _OF_MINUTES if is_short else _OF_HOURS
    rows = tx.run(statement.replace("CONDITION", condition), since, step, since, *asked.values()).all()
    return _grouped(rows, Bars(since, step, [0] * ((now - since) // step + 1)))


_OF_HOURS = (
    "SELECT source, reason, (hour - ?) / ? AS bar, SUM(count), MIN(COALESCE(first_at, hour)), MAX(COALESCE(last_at, hour))"
    " FROM refusals WHERE hour >= ?CONDITION GROUP BY source, reason, bar"
)
_OF_MINUTES = (
    "SELECT source, reason, (minute - ?) / ? AS bar, SUM(count), MIN(minute), MAX(minute)"
    " FROM refused_minutes WHERE minute >= ?CONDITION GROUP BY source, reason, bar"
)


def _grouped(rows: Sequence[Any], empty: Bars) -> list[Group]:
    by_reason: dict[tuple[str, str], Group] = {}
    for source, reason, bar, count, first, last in rows:
        known = by_reason.get((source, reason))
        counts = list(known.bars.counts if known else empty.counts)
        counts[min(max(int(bar), 0), len(counts) - 1)] += int(count)
        by_reason[source, reason] = Group(
            source,
            reason,
            sum(counts),
            min(int(first), known.first_at if known else int(first)),
            max(int(last), known.last_at if known else 0),
            replace(empty, counts=counts),
        )
    return sorted(by_reason.values(), key=lambda group: (-group.last_at, group.source, group.reason))
