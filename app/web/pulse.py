"""The pulse of the bridge for every page, cached: a page never waits for it longer than a few milliseconds."""

import threading
import time
from collections.abc import Callable

from app.errors import BridgeError
from app.ledger.engine import Ledger, look
from app.ledger.reading.summary.problems import Health
from app.ledger.reading.summary.pulse import Pulse, pulse

FRESH_SECONDS = 2.0
STALE_SECONDS = 30.0
"""An older one is not shown: the page waits for a new one."""
QUICK_SECONDS = 0.005


class PulseKeeper:
    """Reads the pulse in the request if that is quick, and on its own thread if the ledger is large."""

    def __init__(self, ledger: Ledger, health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._health = health
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Pulse | None = None
        self._read_at = 0.0
        self._took = 0.0
        self._is_reading = False

    def keep(self, known: Pulse) -> None:
        """Keeps a pulse that a page has just read."""
        with self._lock:
            self._known, self._read_at = known, self._clock()

    def get(self) -> Pulse | None:
        """The pulse; None if the ledger does not answer."""
        with self._lock:
            age = self._clock() - self._read_at
            known, is_quick = self._known, self._took <= QUICK_SECONDS
            if known is not None and (age < FRESH_SECONDS or (self._is_reading and age < STALE_SECONDS)):
                return known
            self._is_reading = True
        if known is None or is_quick or age >= STALE_SECONDS:
            return self._read()
        threading.Thread(target=self._read, name="pulse", daemon=True).start()
        return known

    def _read(self) -> Pulse | None:
        began = time.monotonic()
        current = None
        try:
            with look(self._ledger) as tx:
                current = pulse(tx, self._health)
        except BridgeError:  # the page itself reports it
            pass
        finally:
            with self._lock:
                self._is_reading = False
                self._took = time.monotonic() - began
                if current is not None:
                    self._known, self._read_at = current, self._clock()
        return current
