"""A thread of every worker: heartbeat, claims that nobody will finish, and a nudge where something is due.

It makes up for a lost nudge, an emptied Redis and a killed worker. It reads first and writes only if there is something to
write, since on SQLite every write makes the others wait.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.forwarding.claims import has_due
from app.ledger.forwarding.sweep import (
    claims_of,
    expired_claims,
    heartbeat,
    is_ahead,
    set_back,
    silent_workers,
    stop_worker,
    take_over,
    workers_of,
)
from app.stack.processes import Machine, is_alive
from workers.clock_jumps import ClockWatch

SWEEP_SECONDS = 1.5
NUDGE_PATIENCE_SECONDS = 10.0
"""If due deliveries wait this long despite a queued nudge, the worker sends without one."""
HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 600
"""A worker on another machine counts as stopped after this long without a heartbeat."""

log = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps every 1.5 s until stopped. `nudge` may raise anything: then `forward` is called, as it is where nudges bring nothing.
    `ask` and `forward` return at once: looking people up, alerts and direct runs have threads of their own. `begin` comes first at
    each sweep, and `beat` after each, whatever came of it."""

    def __init__(
        self,
        ledger: Ledger,
        worker_id: int,
        machine: Machine,
        destinations: Sequence[str],
        is_busy: Callable[[], bool],
        nudge: Callable[[], object],
        ask: Callable[[], object] = lambda: None,
        begin: Callable[[], object] = lambda: None,
        longest_claim_seconds: float = 60.0,
        forward: Callable[[], object] = lambda: None,
        beat: Callable[[], object] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._worker_id = worker_id
        self._machine = machine
        self._destinations = destinations
        self._is_busy = is_busy
        self._nudge = nudge
        self._ask = ask
        self._begin = begin
        self._forward = forward
        self._beat = beat
        self._waiting_since: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._beat_at: float | None = None
        """Monotonic: the ledger's clock may be set back, and the heartbeat must go on."""
        self._clock = ClockWatch(longest_claim_seconds)
        self._longest_claim_ms = int(longest_claim_seconds * 1000)
        self._was_set_back = True
        """Also at the start: it may have happened while no worker was running."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Idempotent."""
        self._stop.set()
        self._thread.join(5)

    def sweep(self) -> None:
        """One round. Idempotent. Raises LedgerUnavailable."""
        ledger = self._ledger
        self._begin()
        with ledger.read() as tx:
            now = tx.now()
            jump = self._clock.look(now)
            stale = expired_claims(tx, now - self._clock.forgiven_ms())
            neighbours = workers_of(tx, self._machine)
            dead = [worker for worker, pid, started in neighbours if not is_alive(pid, started)]
            if dead:
                stale += claims_of(tx, dead)
            silent = silent_workers(tx, now - self._clock.forgiven_ms() - SILENT_SECONDS * 1000)
            stopped = [worker for worker in {*dead, *silent} if worker != self._worker_id]
            due = any(has_due(tx, name, now) for name in self._destinations)
            rested = self._beat_at is None or time.monotonic() - self._beat_at >= HEARTBEAT_SECONDS
            ahead = rested and any(is_ahead(tx, name, now) for name in self._destinations)
        if jump:
            log.warning("clock.jumped", by_ms=jump)
        self._was_set_back = self._was_set_back or jump < 0 or ahead
        if self._stop.is_set():
            return  # a heartbeat now would clear the mark of an orderly stop
        if stale or stopped or self._was_set_back or rested:
            self._write(stale, stopped)
        self._ask()
        if due and not self._is_busy():
            self._wake()
        else:
            self._waiting_since = None

    def _wake(self) -> None:
        """Nudges through Redis; if that delivers none, this worker sends by itself."""
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        try:
            self._nudge()
        except Exception as error:  # noqa: BLE001 - whatever the client raises
            log.warning("nudge.failed", error=type(error).__name__)
            self._forward()
            return
        if time.monotonic() - self._waiting_since > NUDGE_PATIENCE_SECONDS:
            log.warning("nudge.unanswered", seconds=round(time.monotonic() - self._waiting_since))
            self._forward()

    def _write(self, stale: list[tuple[int, str, int, int]], stopped: list[int]) -> None:
        with self._ledger.write() as tx:
            now, moved = tx.now(), 0
            heartbeat(tx, self._worker_id, now)
            taken = take_over(tx, stale, now=now)
            for worker_id in stopped:
                stop_worker(tx, worker_id, now)
            if self._was_set_back:
                names, longest = self._destinations, self._longest_claim_ms
                moved = set_back(tx, names, now=now, longest_claim_ms=longest)
        if moved:
            log.warning("clock.set_back", deliveries=moved)
        self._was_set_back = False
        self._beat_at = time.monotonic()
        if taken:
            log.warning("claim.lost", deliveries=taken)

    def _run(self) -> None:
        while True:
            try:
                self.sweep()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
            except Exception as error:  # noqa: BLE001 - Redis away, or a bug: the next round must come all the same
                log.warning("sweep.failed", error=type(error).__name__)
            self._beat()
            if self._stop.wait(SWEEP_SECONDS):
                return
