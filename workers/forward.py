"""The RQ job: reads the ledger and sends while there is work.

One job serves everything that is due, so RQ's cost per job is shared, and an empty queue costs nothing.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from app.destinations.target import STOP_MARGIN_SECONDS, Destination, default_stop_seconds
from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import ensure_destination, is_refused_for_another
from app.ledger.forwarding.claims import Claimed, Wish, has_due
from app.ledger.forwarding.outcomes import Outcome
from app.ledger.forwarding.refunds import attend
from app.ledger.forwarding.screening import screen
from app.ledger.forwarding.shadow import close_open, has_open
from app.ledger.forwarding.turn import Turn, take_turn
from app.ledger.recording.arrival import Route
from app.ledger.recording.refresh import refresh
from app.ledger.recording.reopen import reopen_attempted
from app.ledger.transaction import Tx
from app.logs import correlation_id, lines_together
from app.stack.processes import StopFlag
from app.telemetry.measures import ATTEMPTS, DELIVERY_SECONDS, Measures, status_class
from app.telemetry.tracing import TraceIds, Tracing
from workers.senders import EventLoop, SenderPool

TURN_SECONDS = 0.01
LINGER_SECONDS = 0.5
REST_SECONDS = 0.1
NEWEST_EVERY = 4
"""While there is a backlog, each fourth claim takes what became due last: new conversions do not wait until it is sent."""
LONGEST_JOB_SECONDS = 600.0
CLAIM_MARGIN_SECONDS = 35.0
"""Beyond what a ledger that falls silent costs before an outcome is recorded (DEADLINE_SECONDS and a new connection)."""

log = structlog.get_logger(__name__)


class Forwarder:
    """Sends due deliveries of every destination until none is left. One per worker process.

    stop: set when the process should end. Requests in flight get stop_seconds; after that each is an unknown attempt.
    """

    def __init__(
        self,
        ledger: Ledger,
        destinations: Sequence[Destination],
        schedule_seconds: tuple[float, ...],
        hold_seconds: float,
        stop: StopFlag | threading.Event,
        concurrency: int | None = None,
        stop_seconds: float | None = None,
        *,
        routes: Sequence[Route] = (),
        measures: Measures | None = None,
        tracing: Tracing | None = None,
        trace_ids: TraceIds | None = None,
    ) -> None:
        """tracing: what exports a span for each attempt; trace_ids: where destinations get the header traceparent."""
        self._ledger = ledger
        self._tracing = tracing
        self._measures = measures or Measures()
        self._hold_ms = int(hold_seconds * 1000)
        self._routes = {d.name: Route(d.name, d.format) for d in destinations} | {route.name: route for route in routes}
        self._stop = stop
        self._stop_seconds = default_stop_seconds(destinations) if stop_seconds is None else stop_seconds
        self._loop = EventLoop()
        self._wake = threading.Event()
        self._pools = [
            SenderPool(d, schedule_seconds, concurrency or d.concurrency, self._loop, self._wake, trace_ids)
            for d in destinations
            if not d.is_shadow
        ]
        self._shadows = [d.name for d in destinations if d.is_shadow]
        self._claims = 0
        self._ready = False
        self._unrecorded: dict[str, tuple[list[Outcome], list[Claimed]]] = {}
        self._doubtful: list[str] = []
        """Tokens of claims that the ledger may or may not have. Nothing was sent under them."""
        self.worker_id = 0
        self._turns = threading.Lock()
        """A nudge may arrive during a direct run (workers/direct.py)."""
        self.is_running = False
        """Read by the sweeper: a running job needs no nudge."""

    def begin(self) -> None:
        """Makes each destination's row, ends a pause for a token that is not ours, and closes what was open when a destination went
        into shadow mode. Idempotent. Raises LedgerUnavailable.

        At the worker's start and at every sweep, and not only within a job: where all is paused, nothing asks for one; and a
        worker with the old token, that is still there for a while, may pause it once more.
        """
        with self._ledger.read() as tx:
            refused = any(
                is_refused_for_another(tx, pool.destination.name, pool.destination.token_print) for pool in self._pools
            ) or has_open(tx, self._shadows)
        if refused or not self._ready:
            self._ledger.transact(self._ensure)
            self._ready = True

    def _ensure(self, tx: Tx) -> None:
        for pool in self._pools:
            ensure_destination(tx, pool.destination.name, pool.destination.token_print)
        close_open(tx, self._shadows)

    def run(self, before_look: Callable[[], None]) -> int:
        """Sends until there was nothing to do for half a second. Returns the number of attempts.

        before_look runs before the first look: it deletes the nudge's flag, so that no nudge is lost.
        """
        before_look()
        with self._turns:
            self.is_running = True
            try:
                return self._run()
            finally:
                self.is_running = False

    def _run(self) -> int:
        attempts, started, idle_since, pause = 0, time.monotonic(), time.monotonic(), 0.1
        while not self._stop.is_set() and time.monotonic() - started < LONGEST_JOB_SECONDS:
            try:
                if not self._ready:
                    self.begin()
                busy = False
                for pool in self._pools:
                    count, active = self._turn(pool)
                    attempts += count
                    busy = busy or active
                pause = 0.1
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
                self._stop.wait(pause)
                pause = min(pause * 2, 2.0)
                continue
            now = time.monotonic()
            if busy:
                idle_since = now
            elif now - idle_since > LINGER_SECONDS:
                return attempts
            self._wake.wait(TURN_SECONDS)
            self._wake.clear()
        return attempts + self._wind_down()

    def close(self) -> None:
        """Stops the senders, whatever they are doing. Idempotent."""
        for pool in self._pools:
            pool.close()
        self._loop.close()

    def _turn(self, pool: SenderPool) -> tuple[int, bool]:
        """Records outcomes and claims as much as there is room for, in one transaction. Returns (attempts made, still busy)."""
        outcomes, unsent = self._pending(pool)
        self._unrecorded[pool.destination.name] = (outcomes, unsent)  # until the ledger has them, whatever fails below
        rested = bool(outcomes) or time.monotonic() >= pool.rest_until
        wants = rested and pool.wants_more and (bool(outcomes) or self._has_due(pool))
        if not outcomes and not unsent and not wants:
            return 0, bool(pool.open_tasks)
        self._claims += 1
        token = f"{self.worker_id}.{self._claims}"
        room = pool.free_slots() if wants else 0
        seconds = claim_seconds(pool.destination)

        newest = pool.full_claims % NEWEST_EVERY == NEWEST_EVERY - 1
        limits = int(seconds * 1000), self._hold_ms, pool.destination.rate
        wish = Wish(token, room, *limits, newest=newest) if room else None
        turn = Turn(pool.destination.name, pool.destination.token_print, outcomes, unsent, tuple(self._doubtful), wish)

        def work(tx: Tx) -> tuple[Sequence[Outcome], list[Claimed], bool]:
            recorded, claimable = take_turn(tx, turn)
            claimable = attend(tx, claimable, turn.destination)
            route = self._routes[turn.destination]
            ids = [outcome.claimed.id for outcome in recorded if outcome.result == "unattributed"]
            reopen_attempted(tx, ids, route)
            fresh = refresh(tx, claimable, route)
            return recorded, screen(tx, fresh, route.format), bool(claimable)

        asked = time.monotonic()
        try:
            recorded, claimed, any_claimed = self._ledger.transact(work)
        except LedgerUnavailable:
            self._doubtful.append(token)  # it may have been committed all the same
            raise
        del self._unrecorded[pool.destination.name]
        self._doubtful.clear()
        if room:
            pool.note_claim(room, len(claimed), newest=newest)
        if room and not any_claimed and not newest and not outcomes:
            # What is due waits for something else: ask again, but not at once. With outcomes, nobody asked whether anything is due.
            pool.rest_until = time.monotonic() + REST_SECONDS
        pool.submit(claimed, asked + seconds - pool.destination.timeout_seconds - 2)
        self._report_all(recorded, pool.destination.name)
        return len(outcomes), bool(any_claimed or pool.open_tasks or outcomes)

    def _report_all(self, outcomes: Sequence[Outcome], destination: str) -> None:
        with lines_together():
            for outcome in outcomes:
                self._report(outcome, destination)

    def _report(self, outcome: Outcome, destination: str) -> None:
        self._measures.count(ATTEMPTS, destination, status_class(outcome.status))
        if outcome.result == "delivered":
            ended_at = outcome.started_at + outcome.duration_ms
            seconds = max(ended_at - outcome.claimed.created_at, 0) / 1000
            self._measures.observe(DELIVERY_SECONDS, seconds, destination)
        _log_attempt(outcome, destination)
        if self._tracing is not None:
            claimed = outcome.claimed
            self._tracing.attempt(
                claimed.event_id,
                claimed.id,
                claimed.attempts + 1,
                destination=destination,
                result=outcome.result,
                status=outcome.status,
                error=outcome.error,
                started_at=outcome.started_at / 1000,
                seconds=outcome.duration_ms / 1000,
            )

    def _pending(self, pool: SenderPool) -> tuple[list[Outcome], list[Claimed]]:
        """Outcomes to record: new ones, and those the ledger rejected earlier."""
        outcomes, unsent = pool.collect()
        kept = self._unrecorded.pop(pool.destination.name, None)
        if kept:
            return kept[0] + outcomes, kept[1] + unsent
        return outcomes, unsent

    def _has_due(self, pool: SenderPool) -> bool:
        with self._ledger.read() as tx:
            return has_due(tx, pool.destination.name, tx.now())

    def _wind_down(self) -> int:
        """Returns claims not begun, waits for requests in flight, and records the rest as unknown."""
        began, stopping_since = time.monotonic(), 0.0
        longest = max((pool.destination.timeout_seconds for pool in self._pools), default=0.0) + STOP_MARGIN_SECONDS
        unsent = {pool.destination.name: pool.withdraw() for pool in self._pools}
        attempts = 0
        while True:
            now = time.monotonic()
            if self._stop.is_set():
                stopping_since = stopping_since or now
                late = now - stopping_since > self._stop_seconds
            else:
                late = now - began > longest
            done = True
            for pool in self._pools:
                outcomes, too_old = self._pending(pool)
                if late:
                    outcomes += pool.give_up()
                back = too_old + unsent.pop(pool.destination.name, [])
                if outcomes or back:
                    attempts += self._record_last(pool, outcomes, back)
                done = done and not pool.open_tasks and pool.destination.name not in self._unrecorded
            if done or late:
                return attempts
            time.sleep(TURN_SECONDS)

    def _record_last(self, pool: SenderPool, outcomes: list[Outcome], back: list[Claimed]) -> int:
        name, token_print = pool.destination.name, pool.destination.token_print
        turn = Turn(name, token_print, outcomes, back, tuple(self._doubtful))
        try:
            recorded, _ = self._ledger.transact(lambda tx: take_turn(tx, turn))
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", error=str(error), unrecorded=len(outcomes))
            self._unrecorded[pool.destination.name] = (outcomes, back)
            return 0
        self._doubtful.clear()
        self._report_all(recorded, pool.destination.name)
        return len(outcomes)


def claim_seconds(destination: Destination) -> float:
    """How long a claim lasts: long enough for everything waiting for a sender."""
    return 3 * destination.timeout_seconds + CLAIM_MARGIN_SECONDS


_installed: list[tuple[Forwarder, Callable[[], None]]] = []


def install(forwarder: Forwarder, before_look: Callable[[], None]) -> None:
    """Sets the forwarder that `forward` runs in this process."""
    _installed[:] = [(forwarder, before_look)]


def forward() -> int:
    """The job that a nudge names (app.queue.JOB). Returns the number of attempts. Safe to run again."""
    if not _installed:
        raise RuntimeError("this job runs in `bridge worker`, not in a plain rq worker")
    forwarder, before_look = _installed[0]
    return forwarder.run(before_look)


def _log_attempt(outcome: Outcome, destination: str) -> None:
    """One line for each attempt. What the destination said is not in it: it may repeat what it was sent."""
    fields = {
        "delivery": outcome.claimed.id,
        "correlation_id": correlation_id(outcome.claimed.event_id),
        "destination": destination,
        "attempt": outcome.claimed.attempts + 1,
        "result": outcome.result,
        "status": outcome.status,
        "duration_ms": outcome.duration_ms,
    }
    if outcome.status is None and outcome.error:
        fields["error"] = outcome.error
    if outcome.result in ("delivered", "continued"):
        log.info("delivery.attempted", **fields)
    elif outcome.result == "unattributed":
        log.info("delivery.unattributed", **fields)
    elif outcome.due_at is None:
        log.error("delivery.dead", **fields)
    else:
        log.warning("delivery.attempted", **fields)
