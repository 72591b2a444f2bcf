"""The checks behind /readyz and /statusz: whether the ledger takes writes, and other problems. They reveal no addresses."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.errors import BridgeError, SchemaOutdated
from app.ledger.engine import Ledger, look
from app.ledger.probe import late, overdue, try_write
from app.ledger.reading.summary.problem import PUBLIC
from app.ledger.reading.summary.problems import Health
from app.ledger.reading.summary.stats import destinations, workers_alive
from app.ledger.schema import check_schema
from app.queue import Nudges, redis_problem

FRESH_SECONDS = 2.0
"""A client that asks again within that time gets the same answer, so that nobody can make the ledger write by asking."""
PATIENCE_SECONDS = 5.0


class Probe:
    """Runs `check` on its own thread, once for all concurrent callers. A caller waits PATIENCE_SECONDS at most."""

    def __init__(self, check: Callable[[], list[str]], silent: str) -> None:
        self._check = check
        self._silent = silent
        self._lock = threading.Lock()
        self._round: _Round | None = None

    def problems(self) -> list[str]:
        """The problems; [] if there are none."""
        with self._lock:
            current = self._round
            if current is None or current.is_over:
                current = self._round = _Round()
                threading.Thread(target=self._run, args=(current,), name="probe", daemon=True).start()
        if not current.done.wait(PATIENCE_SECONDS):
            return [self._silent]
        return list(current.found)  # for one who adds to it

    def _run(self, current: "_Round") -> None:
        try:
            current.found = self._check()
        except BridgeError as error:
            current.found = [error.public]
        except Exception as error:  # noqa: BLE001 - a probe that fails is an answer too
            current.found = [f"{self._silent} ({type(error).__name__})"]
        current.ended_at = time.monotonic()
        current.done.set()


@dataclass(slots=True)
class _Round:
    done: threading.Event = field(default_factory=threading.Event)
    found: list[str] = field(default_factory=list)
    ended_at: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.done.is_set() and time.monotonic() - self.ended_at >= FRESH_SECONDS


class Probes:
    """names: the configured destinations."""

    def __init__(
        self, ledger: Ledger, nudges: Nudges | None, names: Sequence[str], hold_seconds: float, health: Health
    ) -> None:
        self._ledger = ledger
        self._nudges = nudges
        self._names = names
        self._hold_seconds = hold_seconds
        self._is_current = False
        self._write = Probe(self._try_ledger, "the ledger does not answer")
        self._rest = Probe(self._look_around, "the ledger does not answer")
        self._health = health
        self._notes = Probe(self._list_warnings, "the ledger does not answer")
        self._redis = Probe(self._try_redis, "Redis does not answer")

    def ledger(self) -> list[str]:
        """Why this process cannot take webhooks now."""
        return self._write.problems()

    def others(self) -> list[str]:
        """Other problems: Redis, workers, destinations, late deliveries. Call only if the ledger works."""
        return self._redis.problems() + self._rest.problems()

    def redis(self) -> list[str]:
        return self._redis.problems()

    def warnings(self) -> list[str]:
        """Further problems of the dashboard's verdict, without names and numbers. Call only if the ledger works."""
        return self._notes.problems()

    def _list_warnings(self) -> list[str]:
        with look(self._ledger) as tx:
            problems = self._health.verdict(tx).problems
        kinds = dict.fromkeys(problem.kind for problem in problems if problem.level != "note")
        return [PUBLIC[kind] for kind in kinds if kind in PUBLIC]

    def _try_ledger(self) -> list[str]:
        if not self._is_current:  # the web may have started while the ledger was unavailable
            try:
                check_schema(self._ledger)
            except SchemaOutdated as error:
                return [str(error)]
            self._is_current = True
        try_write(self._ledger)
        return []

    def _try_redis(self) -> list[str]:
        if self._nudges is None:
            return ["REDIS_URL is not set"]
        problem = redis_problem(self._nudges)
        return [problem] if problem else []

    def _look_around(self) -> list[str]:
        problems = []
        with look(self._ledger) as tx:
            now = tx.now()
            if not workers_alive(tx, now):
                problems.append("no worker has a fresh heartbeat: start `bridge worker`")
            for state in destinations(tx):
                if state["name"] in self._names and state["paused_at"]:
                    problems.append(f"forwarding to {state['name']} is paused")
                elif state["name"] in self._names and state["is_open"]:
                    problems.append(f"{state['name']} is not responding")
            for name, seconds in overdue(tx, self._names, hold_seconds=self._hold_seconds, now=now):
                problems.append(f"deliveries to {name} are {late(seconds)} late")
        return problems
