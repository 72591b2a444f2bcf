"""One timer for many waits of the same length. Nearly all of them end early, and making and cancelling a timer for each is work."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Patience(Generic[T]):
    """Calls `give_up(waiting)` for each that waits longer than `seconds`. For the event loop's thread only."""

    def __init__(self, seconds: float, give_up: Callable[[T], object]) -> None:
        self.seconds = seconds
        self._give_up = give_up
        self._ends: dict[T, float] = {}
        """When the patience of each ends, by the loop's clock; the first one first."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiting: T) -> None:
        loop = asyncio.get_running_loop()
        self._ends[waiting] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look)

    def end(self, waiting: T) -> None:
        """Idempotent."""
        self._ends.pop(waiting, None)

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = []
        for waiting, ends in self._ends.items():
            if ends > now:
                self._timer = loop.call_later(ends - now, self._look)
                break
            late.append(waiting)
        for waiting in late:
            del self._ends[waiting]
            self._give_up(waiting)
