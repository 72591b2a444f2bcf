"""The senders of one destination in this worker.

All requests of a worker run on one event loop in one thread; the job's thread hands claims over and collects outcomes.
"""

import asyncio
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import uvloop

from app.destinations.connect import Resolver
from app.destinations.credentials import MASK
from app.destinations.formats.base import Sent, Verdict
from app.destinations.http import Answer, AnswerLost
from app.destinations.target import Destination, DestinationClient
from app.errors import TransientDeliveryError
from app.ledger.actions.edit import is_edited
from app.ledger.forwarding.claims import Claimed
from app.ledger.forwarding.outcomes import Outcome
from app.telemetry.tracing import TraceIds
from workers.retry import due_after, retry_after

AHEAD_SECONDS = 0.1
"""How much work is claimed ahead of the next turn, at the destination's current rate."""
MOST_AHEAD = 1000
NEARLY_ALL = 0.7
"""Claims are rounded down (claims._rounded)."""
NOT_TAKEN = frozenset({"transient", "unknown", "unauthorized", "redirected"})
STOPS_AFTER = 8
"""After this many failed attempts in a row, the rest returns to the ledger, which decides how to continue."""
LONGEST_KEPT = 16 * 1024
"""How many characters of an answer are kept with its attempt."""


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed delivery and the moment (monotonic) after which its claim is too old."""

    claimed: Claimed
    send_before: float


class EventLoop:
    """An event loop in its own thread, started by the first call."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread: threading.Thread | None = None
        self.resolver = Resolver()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Schedules `function` on the loop. From one thread only."""
        if self._thread is None and not self._loop.is_closed():
            self._thread = threading.Thread(target=self._run, name="senders", daemon=True)
            self._thread.start()
        with suppress(RuntimeError):  # it was closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Ends the thread after earlier calls have run. Idempotent."""
        if self._thread is not None:
            self.call(self._loop.stop)
            self._thread.join(5)
            self._thread = None
        if not self._loop.is_running():
            self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class SenderPool:
    """Sends to one destination, up to `concurrency` at once. A stuck pool never delays another."""

    def __init__(
        self,
        destination: Destination,
        schedule_seconds: tuple[float, ...],
        concurrency: int,
        loop: EventLoop,
        wake: threading.Event | None = None,
        trace_ids: TraceIds | None = None,
    ) -> None:
        """wake: set when there is enough to collect for an early turn. trace_ids: for the header traceparent; None: without it."""
        self._trace_ids = trace_ids
        self.destination = destination
        self.concurrency = concurrency
        self._schedule = schedule_seconds
        self._loop = loop
        self._wake = wake or threading.Event()
        self._client = DestinationClient(destination, loop.resolver)
        self._waiting: deque[Task] = deque()
        self._done: deque[tuple[Task, Outcome | None]] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        self._busy = 0
        """How many senders have work."""
        self._refused = 0
        """Attempts in a row that were not taken. These are touched by the loop's thread alone."""
        self._pace = 0.0
        self._collected_at = time.monotonic()
        self.open_tasks: dict[int, Task] = {}
        """Claimed and not collected yet, by delivery ID. Only the job's thread touches it."""
        self.rest_until = 0.0
        """Until when (monotonic) claiming is pointless."""
        self.full_claims = 0
        """Claims in a row that found as much as they could take: there is a backlog."""

    @property
    def window(self) -> int:
        """How many may be claimed at once: enough that no sender waits for the next turn."""
        return 2 * self.concurrency + min(int(self._pace * AHEAD_SECONDS), MOST_AHEAD)

    def free_slots(self) -> int:
        """How many more may be claimed."""
        return self.window - len(self.open_tasks)

    @property
    def wants_more(self) -> bool:
        """Whether a claim is worthwhile."""
        return self.free_slots() >= max(min(self.concurrency, 8), self.window // 4)

    def note_claim(self, room: int, count: int, *, newest: bool) -> None:
        """A claim of `room` found `count`. A rate limit makes claims small, whatever waits; one of the newest says nothing."""
        is_full = newest or count >= room * NEARLY_ALL or (self.destination.rate is not None and count > 0)
        self.full_claims = self.full_claims + 1 if is_full else 0

    def submit(self, claimed: list[Claimed], send_before: float) -> None:
        if not claimed:
            return
        tasks = [Task(delivery, send_before) for delivery in claimed]
        self.open_tasks.update((task.claimed.id, task) for task in tasks)
        self._waiting.extend(tasks)
        self._loop.call(self._start)

    def collect(self) -> tuple[list[Outcome], list[Claimed]]:
        """Outcomes since the last call, and claims that became too old."""
        outcomes: list[Outcome] = []
        unsent: list[Claimed] = []
        while self._done:
            task, outcome = self._done.popleft()
            if self.open_tasks.pop(task.claimed.id, None) is None:
                continue  # given up as unknown meanwhile
            if outcome is None:
                unsent.append(task.claimed)
            else:
                outcomes.append(outcome)
        self._measure(sum(1 for outcome in outcomes if outcome.result == "delivered"))
        return outcomes, unsent

    def _measure(self, delivered: int) -> None:
        now = time.monotonic()
        seconds = max(now - self._collected_at, 0.001)
        weight = min(seconds / AHEAD_SECONDS, 1.0)
        self._pace += weight * (delivered / seconds - self._pace)
        self._collected_at = now

    def withdraw(self) -> list[Claimed]:
        """Takes back tasks that no sender has begun."""
        unsent: list[Claimed] = []
        while True:
            try:
                task = self._waiting.popleft()
            except IndexError:  # a sender may take the last one meanwhile
                return unsent
            if self.open_tasks.pop(task.claimed.id, None) is not None:
                unsent.append(task.claimed)

    def give_up(self) -> list[Outcome]:
        """Turns requests in flight into unknown attempts, due again at once."""
        now_ms = int(time.time() * 1000)
        outcomes = [
            Outcome(
                task.claimed, "unknown", now_ms, 0, error="the worker stopped before the answer came", due_at=now_ms
            )
            for task in self.open_tasks.values()
        ]
        self.open_tasks.clear()
        return outcomes

    def close(self) -> None:
        """Ends requests in flight and closes connections. Idempotent."""
        self._loop.call(self._end)

    # -- on the loop

    def _start(self) -> None:
        self._refused = 0
        for _ in range(min(len(self._waiting), self.concurrency - self._busy)):
            self._busy += 1
            sender = asyncio.get_running_loop().create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    async def _send_all(self) -> None:
        while True:
            try:
                task = self._waiting.popleft()
            except IndexError:
                self._busy -= 1
                return
            outcome = None
            if self._refused < STOPS_AFTER and time.monotonic() <= task.send_before:
                outcome = await self._attempt(task.claimed)
                is_answered = 200 <= (outcome.status or 0) <= 299  # of a destination that works
                self._refused = self._refused + 1 if outcome.result in NOT_TAKEN and not is_answered else 0
            self._done.append((task, outcome))
            if len(self._done) >= max(8, self.window // 4) and not self._wake.is_set():
                self._wake.set()

    def _end(self) -> None:
        for sender in self._senders:
            sender.cancel()
        self._client.close()

    def _trace_header(self, claimed: Claimed) -> dict[str, str]:
        if self._trace_ids is None:
            return {}
        return {"traceparent": self._trace_ids.traceparent(claimed.event_id, claimed.id, claimed.attempts + 1)}

    async def _attempt(self, claimed: Claimed) -> Outcome:
        started_at, started = time.time(), time.perf_counter()
        answer: Answer | None = None
        try:
            now = datetime.fromtimestamp(started_at, UTC)
            answer = await self._client.send(
                claimed.kind, claimed.payload, claimed.dedupe_key, now, claimed.remembered, self._trace_header(claimed)
            )
            verdict = self.destination.verdict(answer, _sent(claimed))
        except AnswerLost as lost:
            verdict = Verdict("unknown", str(lost))
        except TransientDeliveryError as failed:
            verdict = Verdict("transient", str(failed))
        except Exception as bug:  # noqa: BLE001 - a bug here must cost an attempt, not a sender
            verdict = Verdict("unknown", f"the bridge failed: {type(bug).__name__}")
        ended_at = time.time()
        wait = retry_after(answer.headers, datetime.fromtimestamp(ended_at, UTC)) if answer else None
        tries = claimed.attempts + 1 - claimed.schedule_start
        due_at = due_after(
            verdict.result,
            tries,
            self._schedule,
            now_ms=int(ended_at * 1000),
            dice=random.random(),  # noqa: S311 - jitter
            retry_after_seconds=wait,
        )
        is_last = due_at is None and verdict.result in ("transient", "unknown")
        return Outcome(
            claimed,
            (verdict.at_last or verdict.result) if is_last else verdict.result,
            int(started_at * 1000),
            int((time.perf_counter() - started) * 1000),
            status=answer.status if answer else None,
            error=self._redact(verdict.error) if verdict.error else None,
            note=verdict.note or (claimed.note if due_at is not None else None),
            answer_headers=self._redact(json.dumps(answer.headers)) if answer else None,
            answer_body=self._redact(answer.body[:LONGEST_KEPT].decode("utf-8", "replace")) if answer else None,
            due_at=due_at,
            remember=verdict.remember,
        )

    def _redact(self, text: str) -> str:
        """Removes our token from an answer that repeats it, so that it never gets into the ledger."""
        for secret in (self.destination.token, *self.destination.credentials.values):
            text = text.replace(secret, MASK) if secret else text
        return text.replace("\x00", "\ufffd")[:LONGEST_KEPT]


def _sent(claimed: Claimed) -> Sent:
    return Sent(
        claimed.kind,
        claimed.payload,
        attempts=claimed.attempts,
        tries=claimed.attempts - claimed.schedule_start,
        last_status=claimed.last_status,
        note=claimed.note,
        remembered=claimed.remembered,
        is_edited=is_edited(claimed.dedupe_key),
    )
