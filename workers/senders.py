"""One destination's senders in this worker: their threads, what they are to send, and what came of it."""

import json
import queue
import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from app.destinations.connect import Resolver
from app.destinations.http import Answer, AnswerLost, Destination, Line
from app.errors import TransientDeliveryError
from app.ledger.actions.edit import is_edited
from app.ledger.forwarding.claims import Claimed
from app.ledger.forwarding.outcomes import Outcome, Result
from workers.retry import ALREADY_THERE, Verdict, due_after, judge, retry_after

LONGEST_KEPT = 16 * 1024
"""How much of an answer is kept beside its attempt, in characters."""


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed delivery and the moment (monotonic) after which its claim is too old to send under."""

    claimed: Claimed
    send_before: float


class Lane:
    """Sends for one destination, up to `concurrency` at once; one lane that hangs never delays another."""

    def __init__(self, destination: Destination, schedule_seconds: tuple[float, ...], concurrency: int) -> None:
        self.destination = destination
        self.concurrency = concurrency
        self._schedule = schedule_seconds
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[tuple[Task, Outcome | None]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._resolver = Resolver()
        self.open_tasks: dict[int, Task] = {}
        """Claimed and not yet collected, by delivery id. Touched by the job's thread alone."""
        self.rest_until = 0.0
        """Until when (monotonic) there is no use in claiming."""

    def room(self) -> int:
        """How many more may be claimed: enough that no sender waits for the next turn."""
        return 2 * self.concurrency - len(self.open_tasks)

    def submit(self, claimed: list[Claimed], send_before: float) -> None:
        for one in claimed:
            task = Task(one, send_before)
            self.open_tasks[one.id] = task
            self._inbox.put(task)
        while len(self._threads) < min(self.concurrency, len(self.open_tasks)):
            line = Line(self.destination, self._resolver)
            thread = threading.Thread(
                target=self._send_all, args=(line,), name=f"send-{self.destination.name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def collect(self) -> tuple[list[Outcome], list[Claimed]]:
        """What came of tasks since the last call: outcomes, and claims that grew too old to send under."""
        outcomes: list[Outcome] = []
        unsent: list[Claimed] = []
        while True:
            try:
                task, outcome = self._outbox.get_nowait()
            except queue.Empty:
                return outcomes, unsent
            if self.open_tasks.pop(task.claimed.id, None) is None:
                continue  # given up as unknown meanwhile
            if outcome is None:
                unsent.append(task.claimed)
            else:
                outcomes.append(outcome)

    def withdraw(self) -> list[Claimed]:
        """Takes back what no sender has begun."""
        unsent: list[Claimed] = []
        while True:
            try:
                task = self._inbox.get_nowait()
            except queue.Empty:
                return unsent
            if task is not None and task.claimed.id in self.open_tasks:
                del self.open_tasks[task.claimed.id]
                unsent.append(task.claimed)

    def give_up(self) -> list[Outcome]:
        """What is still in flight becomes an unknown attempt, due again at once."""
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
        """Ends the threads once they are free. Idempotent."""
        for _ in self._threads:
            self._inbox.put(None)
        self._threads.clear()

    def _send_all(self, line: Line) -> None:
        while True:
            task = self._inbox.get()
            if task is None:
                line.close()
                return
            if time.monotonic() > task.send_before:
                self._outbox.put((task, None))
                continue
            self._outbox.put((task, self._attempt(line, task.claimed)))

    def _attempt(self, line: Line, claimed: Claimed) -> Outcome:
        started_at, started = time.time(), time.perf_counter()
        answer: Answer | None = None
        result: Result
        error: str | None
        try:
            answer = line.send(claimed.kind, claimed.payload.encode(), claimed.dedupe_key)
        except AnswerLost as lost:
            result, error = "unknown", str(lost)
        except TransientDeliveryError as failed:
            result, error = "transient", str(failed)
        except Exception as bug:  # noqa: BLE001 - a bug here must cost an attempt, not a thread
            result, error = "unknown", f"the bridge failed: {type(bug).__name__}"
        else:
            verdict = judge(answer.status, self.destination.dialect.refusal(answer.status, answer.body))
            if answer.status == ALREADY_THERE and is_edited(claimed.dedupe_key):
                verdict = Verdict("permanent", "answered 409: it has this one already, as it was before the edit")
            result, error = verdict.result, verdict.error
        now = time.time()
        wait = retry_after(answer.headers, datetime.fromtimestamp(now, UTC)) if answer else None
        tries = claimed.attempts + 1 - claimed.schedule_start
        due_at = due_after(
            result,
            tries,
            self._schedule,
            now_ms=int(now * 1000),
            dice=random.random(),  # noqa: S311 - jitter
            retry_after_seconds=wait,
        )
        return Outcome(
            claimed,
            result,
            int(started_at * 1000),
            int((time.perf_counter() - started) * 1000),
            status=answer.status if answer else None,
            error=self._redact(error) if error else None,
            answer_headers=self._redact(json.dumps(answer.headers)) if answer else None,
            answer_body=self._redact(answer.body[:LONGEST_KEPT].decode("utf-8", "replace")) if answer else None,
            due_at=due_at,
        )

    def _redact(self, text: str) -> str:
        """A destination that repeats our token must not get it into the ledger."""
        return text.replace(self.destination.token, "***").replace("\x00", "\ufffd")[:LONGEST_KEPT]
