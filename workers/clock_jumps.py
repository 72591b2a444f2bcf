"""Notices that the ledger's clock jumped, by a clock that cannot: claims are kept by the one and requests last by the other."""

import time
from collections import deque
from collections.abc import Callable

TOLERANCE_MS = 2000


class ClockWatch:
    """Compares the ledger's clock with the monotonic one at each look. A machine that slept looks like a jump ahead, and is one.

    remember_seconds: how long a jump ahead is forgiven. Not thread-safe.
    """

    def __init__(self, remember_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._remember_seconds = remember_seconds
        self._monotonic = monotonic
        self._last: tuple[int, float] | None = None
        self._ahead: deque[tuple[float, int]] = deque()

    def look(self, now_ms: int) -> int:
        """By how many ms the ledger's clock, which says `now_ms`, jumped since the last look: 0 where it only went on."""
        moment = self._monotonic()
        jump = 0
        if self._last is not None:
            then_ms, then = self._last
            jump = now_ms - then_ms - int((moment - then) * 1000)
        self._last = (now_ms, moment)
        if abs(jump) < TOLERANCE_MS:
            return 0
        if jump > 0:
            self._ahead.append((moment, jump))
        return jump

    def forgiven_ms(self) -> int:
        """By how much claims seem older than they are: the jumps ahead of the last `remember_seconds`."""
        while self._ahead and self._monotonic() - self._ahead[0][0] > self._remember_seconds:
            self._ahead.popleft()
        return sum(jump for _, jump in self._ahead)
