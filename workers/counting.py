"""A thread that counts the hours that are over, for charts, in one worker at a time that the ledger chooses."""

import threading
import time

import structlog

from app.errors import LedgerUnavailable
from app.ledger.cursors import round_is_due, take_round
from app.ledger.engine import Ledger
from app.ledger.traffic.hours import count_next

ROUND = "counted_at"
ROUND_MS = 60_000
SHARE = 0.2
"""The share of time it may read. A ledger of a million deliveries from before this table takes some minutes once."""

log = structlog.get_logger(__name__)


class Counting:
    """Counts what is due every minute. Errors are logged and end nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counting", daemon=True)
        self._checked_at: float | None = None

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Returns at once."""
        self._asked.set()

    def stop(self) -> None:
        """Stops after the current hours. Idempotent."""
        self._stopping.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def look(self) -> int:
        """Counts all hours that are due, unless another worker did within a minute; returns how many. Raises LedgerUnavailable."""
        counted = 0
        while not self._stopping.is_set() and self._is_ours(0 if counted else ROUND_MS):
            began = time.monotonic()
            hours = count_next(self._ledger)
            if not hours:
                break
            counted += hours
            self._stopping.wait((time.monotonic() - began) * (1 / SHARE - 1))
        return counted

    def _is_ours(self, every_ms: int) -> bool:
        """Whether no other worker counts; it then keeps off until ROUND_MS after our last hours."""
        with self._ledger.read() as tx:
            now = tx.now()
            is_due = round_is_due(tx, ROUND, now, every_ms)
        return is_due and self._ledger.transact(lambda tx: take_round(tx, ROUND, now, every_ms))

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._stopping.is_set():
                return
            if self._checked_at is not None and time.monotonic() - self._checked_at < ROUND_MS / 1000:
                continue
            self._checked_at = time.monotonic()
            try:
                self.look()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
            except Exception as error:
                log.error("counting.broken", exc_info=error)
