"""Writer threads that commit for everybody. A request hands its event over and waits until it is on disk.

Events that queue up during one commit go into the next together, so they share the cost of an fsync. If a group fails and the
ledger is not the cause, each of its events is recorded alone, so one bad event harms no other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record

LARGEST_GROUP = 128
MOST_WAITING = 2000
PATIENCE_SECONDS = 20.0
WRITERS_POSTGRESQL = 2
"""PostgreSQL: one group is prepared while another waits for the server. SQLite has one writer at a time, so one thread."""
LEAST_REST_SECONDS = 0.0005
"""Pause after each commit, so that workers, who need the same lock, get their turn (SQLite)."""
REST_SECONDS_AN_EVENT, MOST_REST_SECONDS = 0.0001, 0.003
"""After a large group, the next may gather longer, so more events share a commit. Measured with 32 connections: 3 ms take 13% more
webhooks per second than 5 ms, and 9% more than 1 ms. A single event never waits."""

log = structlog.get_logger(__name__)


class Submitted:
    """A submitted event and, once settled, its result. `context` belongs to the caller."""

    __slots__ = ("arrival", "context", "error", "receipt", "tell")

    def __init__(self, arrival: Arrival, tell: "Tell", context: Any) -> None:
        self.arrival = arrival
        self.tell = tell
        self.context = context
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None

    def result(self) -> Receipt:
        """Its receipt, if it is durable. Raises LedgerUnavailable if that is not known."""
        if self.receipt is not None:
            return self.receipt
        assert self.error is not None
        raise self.error


Tell = Callable[[Sequence[Submitted]], None]
"""Called on a writer's thread with all events of one commit that were submitted with it. Must not block or raise."""


def _set(done: Sequence[Submitted]) -> None:
    for submitted in done:
        submitted.context.set()


class GroupWriter:
    """Records events in groups, up to `writers` of them at once. `after_commit(receipts)` runs on a writer's thread and must
    not block."""

    patience_seconds = PATIENCE_SECONDS
    """How long to wait for an event to be settled. After that it may or may not be recorded."""

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        after_commit: Callable[[Sequence[Receipt]], None],
        writers: int = 1,
    ) -> None:
        self._ledger = ledger
        self._writers = writers
        self._policy = policy
        self._after_commit = after_commit
        self._queue: deque[Submitted] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def record(self, arrival: Arrival) -> Receipt:
        """Returns once `arrival` is durable. Raises LedgerUnavailable if that is not known; retrying is safe."""
        settled = threading.Event()
        submitted = self.submit(arrival, _set, settled)
        if not settled.wait(self.patience_seconds):
            raise LedgerUnavailable(f"the ledger took no event within {self.patience_seconds:g} s")
        return submitted.result()

    def submit(self, arrival: Arrival, tell: Tell, context: Any) -> Submitted:
        """Hands `arrival` over and returns at once; `tell` is called when it is settled. Raises LedgerUnavailable if too many
        events are waiting."""
        submitted = Submitted(arrival, tell, context)
        with self._wake:
            if self._stopping or len(self._queue) >= MOST_WAITING:
                raise LedgerUnavailable("too many events wait for the ledger")
            self._queue.append(submitted)
            if len(self._threads) < self._writers:
                thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._wake.notify()
        return submitted

    def stop(self) -> None:
        """Finishes waiting events, then ends the threads. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue:
                    if self._stopping:
                        return
                    self._wake.wait()
                group = [self._queue.popleft() for _ in range(min(len(self._queue), LARGEST_GROUP))]
            size = len(group)
            self._commit(group)
            group.clear()  # or their bodies would stay until the next event comes
            time.sleep(self._rest_seconds(size))

    def _rest_seconds(self, size: int) -> float:
        if self._writers > 1:  # the next group gathers while this one's commit is waited for
            return LEAST_REST_SECONDS
        return max(LEAST_REST_SECONDS, min(MOST_REST_SECONDS, REST_SECONDS_AN_EVENT * size))

    def _commit(self, group: list[Submitted]) -> None:
        try:
            receipts = self._record([submitted.arrival for submitted in group])
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", events=len(group), error=str(error))
            for submitted in group:
                submitted.error = error
            _tell_owners(group)
            return
        except Exception as error:
            if len(group) > 1:
                for submitted in group:
                    self._commit([submitted])
                return
            log.error("event.unrecorded", source=group[0].arrival.source, exc_info=error)
            failure = LedgerUnavailable("this event could not be recorded; the log says why")
            failure.__cause__ = error
            group[0].error = failure
            _tell_owners(group)
            return
        for submitted, receipt in zip(group, receipts, strict=True):
            submitted.receipt = receipt
        _tell_owners(group)
        self._after_commit(receipts)

    def _record(self, arrivals: list[Arrival]) -> list[Receipt]:
        return self._ledger.transact(lambda tx: record(tx, arrivals, self._policy, commits=True))


def _tell_owners(group: list[Submitted]) -> None:
    by_owner: dict[Tell, list[Submitted]] = {}
    for submitted in group:
        by_owner.setdefault(submitted.tell, []).append(submitted)
    for tell, done in by_owner.items():
        tell(done)
