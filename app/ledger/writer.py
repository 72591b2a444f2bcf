"""One thread that commits for all: each request hands its event over and waits until it is on disk.

What queues up during one commit goes together in the next, so the cost of an fsync is shared. If a group fails for another
reason than the ledger itself, each of its events runs alone, so that one bad event harms no other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.recording import Policy, Receipt, record
from app.ledger.snapshot import Arrival

LARGEST_GROUP = 128
MOST_WAITING = 2000
PATIENCE_SECONDS = 20.0
YIELD_SECONDS = 0.0005
"""After each commit, so that the workers, who ask for the same lock, get their turn (SQLite)."""

log = structlog.get_logger(__name__)


class _Waiting:
    __slots__ = ("arrival", "done", "error", "receipt")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.done = threading.Event()
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None


class GroupWriter:
    """Records events in groups. `after_commit(receipts)` runs on the writer's thread and must not block."""

    def __init__(self, ledger: Ledger, policy: Policy, after_commit: Callable[[Sequence[Receipt]], None]) -> None:
        self._ledger = ledger
        self._policy = policy
        self._after_commit = after_commit
        self._queue: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def record(self, arrival: Arrival) -> Receipt:
        """Returns once `arrival` is durable. Raises LedgerUnavailable where it is not known to be; safe to try again."""
        waiting = _Waiting(arrival)
        with self._wake:
            if self._stopping or len(self._queue) >= MOST_WAITING:
                raise LedgerUnavailable("too many events wait for the ledger")
            self._queue.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
                self._thread.start()
            self._wake.notify()
        if not waiting.done.wait(PATIENCE_SECONDS):
            raise LedgerUnavailable(f"the ledger took no event within {PATIENCE_SECONDS:g} s")
        if waiting.receipt is not None:
            return waiting.receipt
        assert waiting.error is not None
        raise waiting.error

    def stop(self) -> None:
        """Finishes what waits, then ends the thread. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue:
                    if self._stopping:
                        return
                    self._wake.wait()
                group = [self._queue.popleft() for _ in range(min(len(self._queue), LARGEST_GROUP))]
            self._commit(group)
            time.sleep(YIELD_SECONDS)

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            receipts = self._record([waiting.arrival for waiting in group])
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", events=len(group), error=str(error))
            for waiting in group:
                waiting.error = error
                waiting.done.set()
            return
        except Exception as error:
            if len(group) > 1:
                for waiting in group:
                    self._commit([waiting])
                return
            log.error("event.unrecorded", source=group[0].arrival.source, exc_info=error)
            failure = LedgerUnavailable("this event could not be recorded; the log says why")
            failure.__cause__ = error
            group[0].error = failure
            group[0].done.set()
            return
        for waiting, receipt in zip(group, receipts, strict=True):
            waiting.receipt = receipt
            waiting.done.set()
        self._after_commit(receipts)

    def _record(self, arrivals: list[Arrival]) -> list[Receipt]:
        return self._ledger.transact(
            lambda connection: record(self._ledger, connection, arrivals, self._policy, commits=True)
        )
