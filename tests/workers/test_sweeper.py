"""What a worker does beside sending: a heart that beats, claims that nobody will finish, nudges, and clocks that jump."""

import os
import subprocess
import sys
import threading
import time
from ast import literal_eval
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ReadOnlyError

from app.errors import LedgerUnavailable
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import ensure_destination
from app.ledger.forwarding.claims import Claimed, claim
from app.ledger.forwarding.sweep import register_worker, stop_worker
from app.ledger.reading.summary.stats import workers_alive
from app.ledger.transaction import Tx
from app.queue import Nudges, connect
from app.stack.processes import Machine, pid_started, this_machine
from tests.conftest import PATIENCE_SECONDS, Valkey
from tests.ledger.test_forwarding import COLUMNS
from tests.support.empty_ledgers import empty_file
from tests.support.stack_parts import NAMESPACE, can_make_namespaces
from workers.clock_jumps import ClockWatch
from workers.direct import DirectRuns
from workers.sweeper import Sweeper

HOUR_MS = 3_600_000
HERE = Machine("here", "boot 1", "pid:[1]")


class Clock:
    """A clock that a test may set."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.passed = 0.0
        """As if so many seconds had gone by, for the monotonic clock as well."""

    def __call__(self) -> float:
        return time.time() + self.passed + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.passed


class Place:
    """A ledger with a settable clock (SQLite: PostgreSQL has a clock of its own), and sweepers."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.ledger = Ledger(url, clock=self.clock)
        self.nudges = 0
        self.busy = False
        with self.ledger.write() as tx:
            ensure_destination(tx, "main", "print")

    def worker(self, machine: Machine = HERE, pid: int | None = None, started: str | None = None) -> int:
        pid = pid or os.getpid()
        started = pid_started(pid) if started is None else started
        return self.ledger.transact(lambda tx: register_worker(tx, machine, pid, started, tx.now()))

    def sweeper(self, worker_id: int, longest_claim_seconds: float = 60, machine: Machine = HERE) -> Sweeper:
        def nudge() -> None:
            self.nudges += 1

        made = Sweeper(
            self.ledger,
            worker_id,
            machine,
            ["main"],
            lambda: self.busy,
            nudge,
            longest_claim_seconds=longest_claim_seconds,
        )
        made._clock = ClockWatch(longest_claim_seconds, self.clock.monotonic)
        return made

    def add(self, identity: int, wait_ms: int = 0) -> None:
        def work(tx: Tx) -> None:
            now = tx.now()
            row = (
                identity,
                identity,
                identity,
                identity,
                "stripe",
                "sale",
                "main",
                f"sale:{identity}",
                "pending",
                "{}",
            )
            tx.insert(tables.deliveries, COLUMNS, [(*row, now + wait_ms, now)])

        self.ledger.transact(work)

    def claim(self, token: str, claim_ms: int = 60_000) -> list[int]:
        def work(tx: Tx) -> list[Claimed]:
            now = tx.now()
            return claim(tx, "main", token, limit=50, now=now, claim_ms=claim_ms, hold_ms=0)

        return [claimed.id for claimed in self.ledger.transact(work)]

    def all(self, statement: str) -> list[tuple[Any, ...]]:
        with self.ledger.read() as tx:
            return [tuple(row) for row in tx.run(statement).all()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(empty_file(tmp_path / "ledger.db"))
    yield made
    made.ledger.close()


def watch(*looks: tuple[float, int], remember: float = 60) -> tuple[ClockWatch, list[int]]:
    """A watch after looks of (monotonic seconds, ledger's ms), and what each of them said."""
    moments = iter([moment for moment, _ in looks])
    last = [0.0]

    def monotonic() -> float:
        last[0] = next(moments, last[0])
        return last[0]

    found = ClockWatch(remember, monotonic)
    return found, [found.look(now) for _, now in looks]


def test_a_clock_that_goes_on_jumps_not() -> None:
    assert watch((0, 5000), (1.5, 6500), (3, 8900), (10, 14_100))[1] == [0, 0, 0, 0]


def test_jumps_are_told_and_those_ahead_forgiven_for_a_time() -> None:
    found, said = watch((0, 0), (1, 1000 + HOUR_MS), (2, 2000), (3, 3000 + 5000), remember=60)
    assert said == [0, HOUR_MS, -HOUR_MS, 5000]
    assert found.forgiven_ms() == HOUR_MS + 5000
    found, _ = watch((0, 0), (1, 1000 + HOUR_MS), (62, 62_000 + HOUR_MS), remember=60)
    assert found.forgiven_ms() == 0


def test_a_claim_that_ran_out_is_taken_over_and_what_its_sender_did_is_unknown(place: Place) -> None:
    mine, other = place.worker(), place.worker(HERE._replace(host="elsewhere"))
    place.add(1)
    assert place.claim(f"{other}.1", claim_ms=1) == [1]
    time.sleep(0.01)
    place.sweeper(mine).sweep()
    assert place.all("SELECT status, claim, attempts FROM deliveries") == [("retrying", None, 1)]
    assert place.all("SELECT number, result FROM attempts") == [(1, "unknown")]
    assert place.nudges == 0, "at the time of the look it was not due; the next look finds it"
    place.sweeper(mine).sweep()
    assert place.nudges == 1


def test_claims_of_a_worker_of_this_host_that_is_gone_are_taken_over_at_once(place: Place) -> None:
    mine = place.worker()
    gone = place.worker(started="1")
    place.add(1)
    assert place.claim(f"{gone}.1") == [1]
    place.sweeper(mine).sweep()
    assert place.all("SELECT status, claim FROM deliveries") == [("retrying", None)]
    assert place.all(f"SELECT stopped_at IS NULL FROM workers WHERE id = {gone}") == [(0,)]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (HERE._replace(pid_namespace="pid:[2]"), HERE),  # two containers with one host name
        (
            HERE._replace(boot_id="boot 2"),
            HERE,
        ),  # two machines cloned from one image, or this one before it was restarted
        (HERE._replace(host="there"), HERE),
        (HERE._replace(boot_id=""), HERE._replace(boot_id="")),  # the system does not say which machine it is
        (HERE._replace(pid_namespace=""), HERE._replace(pid_namespace="")),
    ],
)
def test_a_process_that_is_missing_here_says_nothing_about_a_worker_elsewhere(
    place: Place, theirs: Machine, ours: Machine
) -> None:
    mine, other = place.worker(ours), place.worker(theirs, started="1")
    place.add(1)
    assert place.claim(f"{other}.1") == [1]
    place.sweeper(mine, machine=ours).sweep()
    assert place.all("SELECT status, claim FROM deliveries") == [("pending", f"{other}.1")]
    assert place.all("SELECT COUNT(*) FROM workers WHERE stopped_at IS NOT NULL") == [(0,)]


def test_a_worker_of_a_version_that_did_not_tell_its_machine_is_not_taken_for_dead(place: Place) -> None:
    mine = place.worker()
    statement = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('here', 1, 'x', ?, ?) RETURNING id"

    def add(tx: Tx) -> int:
        now = tx.now()
        return int(tx.run(statement, now, now).scalar_one())

    other = place.ledger.transact(add)
    place.add(1)
    assert place.claim(f"{other}.1") == [1]
    place.sweeper(mine).sweep()
    assert place.all("SELECT claim FROM deliveries") == [(f"{other}.1",)]


def test_a_heartbeat_clears_a_wrong_stopped_mark(place: Place) -> None:
    mine = place.worker()
    place.ledger.transact(lambda tx: stop_worker(tx, mine, tx.now()))
    with place.ledger.read() as tx:
        assert workers_alive(tx) == []
    place.sweeper(mine).sweep()
    with place.ledger.read() as tx:
        assert len(workers_alive(tx)) == 1


def test_a_sweeper_that_was_stopped_does_not_clear_the_mark_of_its_worker(place: Place) -> None:
    mine = place.worker()
    sweeper = place.sweeper(mine)
    sweeper._stop.set()
    place.ledger.transact(lambda tx: stop_worker(tx, mine, tx.now()))
    sweeper.sweep()
    assert place.all("SELECT COUNT(*) FROM workers WHERE stopped_at IS NULL") == [(0,)]


def test_a_worker_elsewhere_is_marked_stopped_after_ten_silent_minutes_and_its_claims_end_by_time(place: Place) -> None:
    mine, other = place.worker(), place.worker(HERE._replace(host="there"))
    place.add(1)
    assert place.claim(f"{other}.1", claim_ms=3_600_000) == [1]
    sweeper = place.sweeper(mine, longest_claim_seconds=7200)
    sweeper.sweep()
    assert place.all(f"SELECT stopped_at IS NULL FROM workers WHERE id = {other}") == [(1,)]
    place.clock.passed = 601
    sweeper.sweep()
    assert place.all(f"SELECT stopped_at IS NULL FROM workers WHERE id = {other}") == [(0,)]
    assert place.all("SELECT claim FROM deliveries") == [(f"{other}.1",)]


def test_this_machine_is_the_same_for_every_process_on_it_and_another_in_another_pid_namespace() -> None:
    ask = "from app.stack.processes import this_machine; print(repr(tuple(this_machine())))"
    here = this_machine()
    assert subprocess.check_output([sys.executable, "-c", ask], text=True).strip() == repr(tuple(here))
    if not can_make_namespaces():
        pytest.skip("no PID namespace can be made here")
    elsewhere = subprocess.check_output([*NAMESPACE, sys.executable, "-c", ask], text=True)
    host, boot_id, namespace = literal_eval(elsewhere)
    assert (host, boot_id) == (here.host, here.boot_id)
    assert namespace not in ("", here.pid_namespace)


def test_a_proc_of_another_namespace_makes_no_certain_machine() -> None:
    ask = "from app.stack.processes import this_machine; print(this_machine().is_certain)"
    if not can_make_namespaces():
        pytest.skip("no PID namespace can be made here")
    command = [*NAMESPACE[:-1], sys.executable, "-c", ask]  # without --mount-proc
    assert subprocess.check_output(command, text=True) == "False\n"


def test_a_clock_that_jumps_ahead_ends_no_claim_of_a_sender_that_lives(place: Place) -> None:
    mine, other = place.worker(), place.worker()
    sweeper = place.sweeper(mine, longest_claim_seconds=60)
    place.add(1)
    assert place.claim(f"{other}.1", claim_ms=50_000) == [1]
    sweeper.sweep()
    place.clock.ahead = 3600
    sweeper.sweep()
    assert place.all("SELECT status, claim FROM deliveries") == [("pending", f"{other}.1")]
    place.clock.passed = 61
    sweeper.sweep()
    assert place.all("SELECT status, claim FROM deliveries") == [("retrying", None)], "its time is over by any clock"


def test_a_clock_that_is_set_back_stops_neither_deliveries_nor_the_heart(place: Place) -> None:
    mine = place.worker()
    sweeper = place.sweeper(mine)
    place.clock.ahead = 3600
    sweeper.sweep()
    place.add(1)
    place.add(2, wait_ms=700_000)
    place.clock.ahead = 0
    assert place.claim(f"{mine}.1") == []
    sweeper.sweep()
    assert place.claim(f"{mine}.1") == [1]
    (waits,) = place.all("SELECT due_at - created_at FROM deliveries WHERE id = 2")[0]
    assert waits == 700_000, "a hold keeps its length"
    ((beat,),) = place.all("SELECT heartbeat_at FROM workers")
    assert abs(beat / 1000 - time.time()) < 60


def test_a_worker_that_starts_after_the_clock_was_set_back_finds_what_was_recorded_in_the_future(place: Place) -> None:
    place.clock.ahead = 3600
    place.add(1)
    place.clock.ahead = 0
    mine = place.worker()
    place.sweeper(mine).sweep()
    assert place.claim(f"{mine}.1") == [1]


@pytest.mark.parametrize("attempts", [0, 1])
def test_a_clock_that_was_ahead_between_two_sweeps_leaves_nothing_in_that_future(place: Place, attempts: int) -> None:
    mine = place.worker()
    sweeper = place.sweeper(mine)
    sweeper.sweep()
    if attempts:
        place.add(1)
    place.clock.ahead = 3600
    if attempts:
        assert place.claim(f"{mine}.1", claim_ms=-1) == [1]
        place.sweeper(place.worker()).sweep()
        assert place.all("SELECT attempts FROM deliveries") == [(1,)]
    else:
        place.add(1)
    place.clock.ahead = 0
    assert place.claim(f"{mine}.2") == []
    sweeper.sweep()
    assert place.claim(f"{mine}.2") == [], "it has just looked, and the clock never jumped while it did"
    sweeper._beat_at = time.monotonic() - 60
    sweeper.sweep()
    assert place.claim(f"{mine}.2") == [1]


def test_what_waits_for_its_next_attempt_is_no_future(place: Place) -> None:
    sweeper = place.sweeper(place.worker())
    place.add(1, wait_ms=700_000)
    sweeper.sweep()
    sweeper._beat_at = time.monotonic() - 60
    sweeper.sweep()
    ((waits,),) = place.all("SELECT due_at - created_at FROM deliveries WHERE id = 1")
    assert waits == 700_000


def test_while_its_own_job_runs_a_sweeper_does_not_nudge(place: Place) -> None:
    sweeper = place.sweeper(place.worker())
    place.add(1)
    place.busy = True
    sweeper.sweep()
    assert place.nudges == 0
    place.busy = False
    sweeper.sweep()
    assert place.nudges == 1


def test_where_redis_takes_no_nudge_a_sweeper_forwards_without_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct: list[int] = []
    sweeper = place.sweeper(place.worker())
    sweeper._forward = lambda: direct.append(1)
    sweeper.sweep()
    place.add(1)
    sweeper.sweep()
    assert (place.nudges, direct) == (1, []), "a nudge is on its way"

    def refuse() -> None:
        raise ReadOnlyError("You can't write against a read only replica.")

    sweeper._nudge = refuse
    sweeper.sweep()
    assert direct == [1]
    place.busy = True
    sweeper.sweep()
    assert direct == [1]


def test_where_nudges_are_taken_and_bring_nothing_a_sweeper_forwards_after_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct: list[int] = []
    sweeper = place.sweeper(place.worker())
    sweeper._forward = lambda: direct.append(1)
    place.add(1)
    sweeper.sweep()
    sweeper.sweep()
    assert direct == []
    monkeypatch.setattr("workers.sweeper.NUDGE_PATIENCE_SECONDS", -1.0)
    place.busy = True
    sweeper.sweep()
    place.busy = False
    sweeper.sweep()
    assert direct == [1]
    assert place.nudges == 3


def test_it_beats_after_each_sweep_whatever_came_of_it(place: Place) -> None:
    sweeper = place.sweeper(place.worker())
    beats = threading.Semaphore(0)
    sweeper._beat = beats.release
    rounds = []

    def begin() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise LedgerUnavailable
        raise ZeroDivisionError

    sweeper._begin = begin
    sweeper.start()
    assert all(beats.acquire(timeout=PATIENCE_SECONDS) for _ in range(2))
    sweeper.stop()


def test_direct_runs_and_jobs_take_turns_and_only_one_direct_run_is_under_way() -> None:
    running, ended = threading.Semaphore(0), threading.Semaphore(0)
    runs = []

    def run() -> None:
        runs.append(1)
        running.release()
        ended.acquire(timeout=PATIENCE_SECONDS)

    direct = DirectRuns(run)
    for _ in range(3):
        direct.ask()
    assert running.acquire(timeout=PATIENCE_SECONDS)
    assert direct.is_running
    ended.release()
    direct.stop(PATIENCE_SECONDS)
    assert runs == [1]
    assert not direct.is_running


def test_a_sweep_with_nothing_to_do_writes_nothing(place: Place) -> None:
    sweeper = place.sweeper(place.worker())
    sweeper.sweep()
    with place.ledger.write():  # SQLite has one writer: a sweep that wrote would wait, and fail
        sweeper.sweep()


@pytest.fixture
def nudges(valkey: Valkey) -> Iterator[Callable[[], Nudges]]:
    made = []

    def make() -> Nudges:
        redis = connect(valkey.url)
        made.append(redis)
        return Nudges(redis)

    yield make
    for redis in made:
        redis.close()


def test_at_most_one_nudge_waits_however_many_ask_and_for_however_long(
    nudges: Callable[[], Nudges], valkey: Valkey
) -> None:
    from redis import Redis

    several = [nudges() for _ in range(3)]
    assert [one.nudge() for one in several] == [True, False, False]
    redis = Redis.from_url(valkey.url)
    redis.delete("bridge:nudge")  # it ran out: no worker came to answer it
    assert [one.nudge() for one in several] == [False, False, False]
    assert redis.llen("rq:queue:bridge") == 1
    redis.lpop("rq:queue:bridge")  # a worker takes it
    several[0].clear()
    assert [one.nudge() for one in several] == [True, False, False]
    redis.close()
