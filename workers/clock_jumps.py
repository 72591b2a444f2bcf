"""Detects jumps of the ledger's clock with the monotonic clock: claims are timed by the first, requests by the second."""

import time
from collections import deque
from collections.abc import Callable

TOLERANCE_MS = 2000


class ClockWatch:
    """Compares the ledger's clock with the monotonic clock at each look. A machine that slept counts as a jump ahead.

    remember_seconds: how long a jump ahead is allowed for. Not thread-safe.
    """

    def __init__(self, remember_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._remember_seconds = remember_seconds
        self._monotonic = monotonic
        self._last: tuple[int, float] | None = None
        self._ahead: deque[tuple[float, int]] = deque()

    def look(self, now_ms: int) -> int:
        """By how many ms the ledger's clock, at `now_ms`, jumped since the last look; 0 if it did not."""
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
        """How much older claims seem than they are: the jumps ahead within `remember_seconds`."""
        while self._ahead and self._monotonic() - self._ahead[0][0] > self._remember_seconds:
            self._ahead.popleft()
        return sum(jump for _, jump in self._ahead)
