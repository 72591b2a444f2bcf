"""Counts refused requests in this process, and adds them to the ledger from a thread of its own, so that none waits for it."""

import threading
import time
from collections import Counter
from collections.abc import Mapping

import structlog

from app.errors import LedgerUnavailable
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger

FLUSH_SECONDS = 5.0

log = structlog.get_logger(__name__)


class RefusalCounter:
    """`count` returns at once. What was counted since the last flush is lost where the process is killed: it is a count."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counted: Counter[tuple[str, str]] = Counter()
        self._times: dict[tuple[str, str], tuple[float, float]] = {}
        """When the first and the last of those came (monotonic)."""
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def count(self, source: str, reason: str) -> None:
        now = time.monotonic()
        with self._lock:
            self._counted[source, reason] += 1
            first, _ = self._times.get((source, reason), (now, now))
            self._times[source, reason] = (first, now)
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
                self._thread.start()
        self._something.set()

    def flush(self) -> None:
        """Adds what was counted to the ledger. Raises LedgerUnavailable, and then keeps it for the next time."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
            times, self._times = self._times, {}
        if not counted:
            return
        try:
            self._ledger.transact(lambda tx: add_refusals(tx, counted, tx.now(), _ages(times)))
        except BaseException:
            with self._lock:
                self._counted.update(counted)
                for key, (first, last) in times.items():
                    self._times[key] = (first, self._times.get(key, (last, last))[1])
            raise

    def stop(self) -> None:
        """Ends the thread after a last flush. Idempotent."""
        self._stopping.set()
        self._something.set()
        if self._thread is not None:
            self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._stopping.wait(FLUSH_SECONDS)  # a storm of them costs one write each time
            self._something.clear()
            try:
                self.flush()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
                self._something.set()
            except Exception as error:  # a bug must not end the counting
                log.error("refusals.uncounted", exc_info=error)
            if self._stopping.is_set():
                return


def _ages(times: Mapping[tuple[str, str], tuple[float, float]]) -> dict[tuple[str, str], tuple[int, int]]:
    now = time.monotonic()
    return {key: (int((now - first) * 1000), int((now - last) * 1000)) for key, (first, last) in times.items()}
