"""Counts of a large ledger, kept for some seconds: counting a million rows takes a tenth of a second, and is asked for again
and again by what watches the bridge."""

import threading
import time
from collections.abc import Callable

LARGE = 200_000
"""Rows from which on a count is kept. A smaller ledger is counted anew each time."""
KEPT_SECONDS = 15.0


class Tallies:
    """Safe to share between threads. Of two that ask at once, both may count."""

    def __init__(self, *, large: int = LARGE, clock: Callable[[], float] = time.monotonic) -> None:
        self._large, self._clock = large, clock
        self._kept: dict[str, tuple[float, dict[str, int]]] = {}
        self._lock = threading.Lock()

    def get(self, name: str, count: Callable[[], dict[str, int]]) -> dict[str, int]:
        """What count() told of `name` in the last KEPT_SECONDS, where that was much; else what it tells now."""
        with self._lock:
            until, found = self._kept.get(name, (0.0, {}))
        if until > self._clock():
            return dict(found)
        found = count()
        if sum(found.values()) >= self._large:
            with self._lock:
                self._kept[name] = (self._clock() + KEPT_SECONDS, found)
        return dict(found)
