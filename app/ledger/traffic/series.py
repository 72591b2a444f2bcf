"""The bars of a chart: past hours from their kept counts, the rest counted now."""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache

from app.ledger.traffic.hours import kept
from app.ledger.traffic.tally import HOUR_MS, Part, first_at, tally
from app.ledger.transaction import Tx

LIVE_MS = 24 * HOUR_MS
"""Rows of this long are counted now, as what became of them still changes."""
LIVE_EVENTS = 30_000
"""The most events that are counted now, newest first. What is older comes from the kept counts, or is left out."""
KEPT_SECONDS = 30.0


class PartsCache:
    """Caches counts of the past for half a minute. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._answers: TTLCache[Any, Any] = TTLCache(64, KEPT_SECONDS, clock)
        self._lock = threading.Lock()

    def get(self, key: Any, ask: Callable[[], dict[int, Part]]) -> dict[int, Part]:
        with self._lock:
            parts: dict[int, Part] | None = self._answers.get(key)
        if parts is None:
            parts = ask()
            with self._lock:
                self._answers[key] = parts
        return parts


@dataclass(frozen=True, slots=True)
class Bar:
    """start, end: ms. is_whole: whether all of it was counted."""

    start: int
    end: int
    part: Part = field(default_factory=Part)
    is_whole: bool = True


def series(tx: Tx, edges: Sequence[int], size: int, now: int, cache: PartsCache | None = None) -> list[Bar]:
    """Bars between `edges` (ms), put together from parts of `size` ms: an hour, or less where no bar begins before LIVE_MS ago."""
    cache = cache or PartsCache()
    start, current = edges[0], now // size * size
    live = max(start, _live_start(tx, now, size))
    over = cache.get(("over", live, current, size), lambda: tally(tx, live, current, size)) if live < current else {}
    parts = [over, tally(tx, max(live, current), edges[-1], size)]
    missing: set[int] = set()
    if start < live and size == HOUR_MS:
        before = min(live, current)
        older = cache.get(("kept", start, before), lambda: _older(tx, start, before))
        parts.append(older)
        missing = set(range(start, before, HOUR_MS)) - set(older)
        if missing and (first := first_at(tx)):
            missing = {hour for hour in missing if hour + HOUR_MS > first}
    elif start < live:
        missing = set(range(start, live, size))
    if live % size:
        missing.add(live // size * size)
    totals = [Part() for _ in edges[1:]]
    for group in parts:
        for start_of_part, part in group.items():
            if start <= start_of_part < edges[-1]:
                totals[bisect_right(edges, start_of_part) - 1].add(part)
    holes = {bisect_right(edges, hole) - 1 for hole in missing}
    return [
        Bar(low, high, part, index not in holes)
        for index, (low, high, part) in enumerate(zip(edges, edges[1:], totals, strict=False))
    ]


def _older(tx: Tx, start: int, end: int) -> dict[int, Part]:
    """Kept counts. For hours that are not counted yet, the newest LIVE_EVENTS events are counted now."""
    parts = kept(tx, start, end)
    hours = [hour for hour in range(start, end, HOUR_MS) if hour not in parts]
    if not hours:
        return parts
    low = _since(tx, hours[-1] + HOUR_MS, HOUR_MS)
    counted = tally(tx, max(low, hours[0]), hours[-1] + HOUR_MS, HOUR_MS)
    return parts | {hour: counted.get(hour, Part()) for hour in hours if hour >= low}


def _live_start(tx: Tx, now: int, size: int) -> int:
    """The time from which rows are counted now: LIVE_MS ago, or later if there are more than LIVE_EVENTS since then. It lies
    within the current part if that part alone has more."""
    return max((now - LIVE_MS) // size * size, _since(tx, now + 1, size))


def _since(tx: Tx, end: int, size: int) -> int:
    """The beginning of the first part that the newest LIVE_EVENTS events before `end` cover completely; 0 if there are fewer
    events, and the time of the oldest of them if they do not cover even the last part."""
    statement = "SELECT received_at FROM events WHERE received_at < ? ORDER BY received_at DESC LIMIT 1 OFFSET ?"
    received_at = tx.run(statement, end, LIVE_EVENTS - 1).scalar()
    if received_at is None:
        return 0
    start = (int(received_at) // size + 1) * size
    return start if start < end else int(received_at)
