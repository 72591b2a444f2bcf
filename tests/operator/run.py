"""What an operator does in the life of a bridge, step by step under load. At the end of each part the books are compared."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tests.conftest import _with_database, wait_for
from tests.faults.account import Account, books
from tests.operator.fleet import (
    TIMEOUT_SECONDS,
    Machine,
    Workshop,
    counts,
    keys,
    open_keys,
    unpack,
    wait_until_open,
    wait_until_settled,
    workers,
)
from tests.operator.load import Load, repost
from tests.support.postgres import Postgres
from tests.support.scripted import Asked, ScriptedDestination

SLOW_SECONDS = 5.0
"""What the destination takes while deliveries are to pile up."""


Pair = tuple[Machine, Machine]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. events: between two steps, at least; open: deliveries that the backup finds open, at least."""

    workers: int = 3
    events: int = 2000
    open: int = 200
    a_second: float = 120.0
    is_short: bool = False
    """The upgrade alone: tests/ledger/test_backup.py shows backup, restore and move, without processes."""


SHORT = Size(workers=2, events=10, a_second=20.0, is_short=True)


class Report:
    """What was done and counted, a line each, and what was wrong with it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._began = time.monotonic()
        self.problems: list[str] = []

    def step(self, line: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {line}")

    def check(self, is_right: bool, line: str) -> None:
        """A count: it is as it must be, or it is a problem."""
        self.step(f"{line}: {'ok' if is_right else 'WRONG'}")
        if not is_right:
            self.problems.append(line)

    def books(self, name: str, account: Account, posted: int, answers: Counter[object]) -> None:
        refused = {answer: count for answer, count in answers.items() if answer != 200}
        self.step(
            f"{name}: {posted:,} webhooks posted, sent again after another answer than 200: {refused or 'none'};"
            f" {account.owed:,} conversions acknowledged, {account.delivered:,} delivered, {account.lost} lost,"
            f" {account.doubled} received twice"
        )
        for problem in account.problems:
            self._say(f"          {problem}")
        self.problems += account.problems
        self.check(account.owed == account.delivered > 0, f"{name}: every conversion acknowledged is delivered")


class Operator:
    """One run. `close` ends whatever it has started."""

    def __init__(self, size: Size, say: Callable[[str], None], seed: int = 7) -> None:
        self.size = size
        self.seed = seed
        self.report = Report(say)
        self.shop = Workshop()
        self.destination = ScriptedDestination(seed)
        self.postgres = Postgres("bridge-operator-pg-")

    def close(self) -> None:
        self.shop.close()
        self.destination.close()
        self.postgres.close()

    def run(self) -> list[str]:
        """All parts; the problems."""
        both, load = self.upgrade("v0.1.0")
        if self.size.is_short:
            self.close_books(both, load)
            return self.report.problems
        file = self.back_up(both[0], load)
        self.close_books(both, load)
        self.restore_elsewhere(load, file)
        self.move()
        return self.report.problems

    # -- deploy, kill, upgrade, replace, back up

    def upgrade(self, version: str) -> tuple[Pair, Load]:
        """From `version` to this one, while the load goes on."""
        size, report, shop = self.size, self.report, self.shop
        old = unpack(version, shop.folder / "old")
        first, second = self.machines("one", "two", ledger_url=self.database("production"))
        both = (first, second)
        for machine in both:
            machine.run(old)
        first.bridge("db", "upgrade")
        self.start(both)
        front = shop.front(both)
        report.step(f"deployed {version}: 2 webs behind {front.name}, {size.workers} workers, PostgreSQL and Valkey")
        load = Load(front.ports, "production", a_second=size.a_second, seed=self.seed)
        load.go_on(size.events)
        if not size.is_short:
            self.kill_one_of_each(both, load, version)

        first.run(None)
        said = first.bridge("db", "upgrade")
        load.go_on(size.events)
        report.step(f"`bridge db upgrade` of this version under load, {version} goes on: {said.strip()}")
        first.run(old)
        self.kill_one_of_each(both, load, f"{version} on the newer schema")

        for machine in both:
            machine.run(None)
            machine.stop_web()
            machine.start_web()
            machine.wait_for_web()
            for _ in range(len(machine.workers)):
                machine.stop_worker()
                machine.start_worker()
            load.go_on(size.events)
        report.step("replaced all processes by this version, one after another")
        self.kill_one_of_each(both, load, "this version")

        return both, load

    def back_up(self, machine: Machine, load: Load) -> Path:
        """While many deliveries are open, and more come."""
        self.destination.delay_seconds = SLOW_SECONDS
        wait_until_open(machine, self.size.open)
        file = self.shop.folder / "bridge.backup"
        said = machine.bridge("backup", file)
        self.report.step(f"`bridge backup` under load: {said.splitlines()[0].rpartition('/')[2]}")
        load.go_on(self.size.events)
        self.destination.delay_seconds = 0
        return file

    def close_books(self, both: Pair, load: Load) -> None:
        load.stop()
        wait_until_settled(both[0])
        account = self.account(both[0], load.keys, load.acknowledged, self.destination.asked, killed=True)
        self.report.books("production", account, load.posted, load.answers)
        for machine in both:
            machine.stop()

    def kill_one_of_each(self, machines: Pair, load: Load, what: str) -> None:
        """kill -9, while requests are in flight, and start again."""
        self.destination.delay_seconds = 0.1
        wait_for(lambda: self.destination.open_requests >= 1)
        machines[0].kill_worker()
        self.destination.delay_seconds = 0
        machines[1].kill_web()
        load.go_on(self.size.events)
        machines[0].start_worker()
        machines[1].start_web()
        machines[1].wait_for_web()
        load.go_on(self.size.events)
        self.report.step(f"killed a worker and a web ({what}) with SIGKILL, and started them again")

    # -- restore elsewhere

    def restore_elsewhere(self, load: Load, file: Path) -> None:
        """From the backup of a ledger that went on: what was open is announced and sent twice, and nothing else is."""
        report, asked = self.report, self.destination.asked
        (machine,) = self.machines("elsewhere", ledger_url=self.database("elsewhere"))
        said = machine.bridge("restore", file)
        announced = open_keys(machine)
        known = keys(machine)
        lost = load.acknowledged - known
        report.step(f"restored elsewhere: {len(known):,} conversions, and {len(lost):,} came after the backup")
        report.check(
            f"{len(announced):,} deliveries are open" in said and len(announced) >= self.size.open,
            f"`bridge restore` announces the {len(announced):,} deliveries that are open in the backup",
        )
        began = len(asked)
        self.start((machine,))
        wait_for(lambda: workers(machine) == len(machine.workers))
        answers = repost([machine.stack.port], load.events, self.seed)
        report.step(f"the providers sent all {answers[200]:,} events again")
        report.check(len(asked) == began, "nothing is sent while the destination is paused")
        report.check(
            open_keys(machine) == announced | lost, f"only the {len(lost):,} conversions that were missing are new"
        )
        machine.bridge("resume", "main")
        wait_until_settled(machine)
        account = self.account(machine, load.keys, load.acknowledged, asked, again=load.keys)
        report.books("elsewhere", account, answers.total(), answers)
        twice = Counter(one.key for one in asked[began:])
        report.check(
            set(twice) == announced | lost and set(twice.values()) <= {1},
            f"after `bridge resume main`: {len(announced):,} announced and {len(lost):,} missing ones were sent, once each",
        )
        machine.stop()

    # -- move to another database

    def move(self) -> None:
        """SQLite to PostgreSQL, with deliveries open, and on from there."""
        size, report = self.size, self.report
        (before,) = self.machines("before", ledger_url=f"sqlite:///{self.shop.folder / 'ledger.db'}")
        before.bridge("db", "upgrade")
        self.start((before,))
        load = Load([before.stack.port], "moving", a_second=size.a_second, seed=self.seed)
        load.go_on(size.events)
        before.bridge("pause", "main", "--why", "moving")
        wait_until_open(before, size.open)
        load.stop()
        before.stop()
        url = self.database("moved")
        said = before.bridge("db", "copy", "--to", url)
        report.step(f"SQLite: {len(load.keys):,} conversions, {len(open_keys(before)):,} open. {said.splitlines()[0]}")
        (after,) = self.machines("after", ledger_url=url)
        left, right = counts(before), counts(after)
        report.check(left == right, f"{len(left)} tables have the same {sum(left.values()):,} rows in both")
        self.start((after,))
        answers = repost([after.stack.port], load.events, self.seed)
        report.check(counts(after)["events"] == left["events"], "what is sent again after the move is known")
        more = Load([after.stack.port], "moved", a_second=size.a_second, seed=self.seed)
        more.go_on(size.events)
        after.bridge("resume", "main")
        more.stop()
        wait_until_settled(after)
        acknowledged = load.acknowledged | more.acknowledged
        account = self.account(after, load.keys | more.keys, acknowledged, self.destination.asked)
        report.books(
            "moved", account, load.posted + more.posted + answers.total(), load.answers + more.answers + answers
        )
        after.stop()

    # -- parts of it

    def database(self, name: str) -> str:
        """An empty one on our PostgreSQL."""
        self.postgres.execute(f"CREATE DATABASE {name}")
        return _with_database(self.postgres.url, name)

    def machines(self, *names: str, ledger_url: str) -> list[Machine]:
        return [self.shop.machine(name, ledger_url, self.destination.url) for name in names]

    def start(self, machines: Sequence[Machine]) -> None:
        """A web on each, and the workers spread over them."""
        for machine in machines:
            machine.start_web()
        for number in range(self.size.workers if len(machines) > 1 else 1):
            machines[number % len(machines)].start_worker()
        for machine in machines:
            machine.wait_for_web()

    def account(
        self,
        machine: Machine,
        keys: set[str],
        acknowledged: set[str],
        asked: Iterable[Asked],
        *,
        killed: bool = False,
        again: frozenset[str] | set[str] = frozenset(),
    ) -> Account:
        """The books; of the keys `again` only the last request counts, since a ledger whose books are closed sent the others."""
        # In the order of their arrival. A request of a killed worker may be over after the one that repeats it.
        last = {one.key: one for one in sorted(asked, key=attrgetter("at")) if one.key in again}
        counted = [one for one in asked if one.key not in again] + list(last.values())
        return books(
            machine.stack.ledger, keys, acknowledged, counted, worker_killed=killed, timeout_seconds=TIMEOUT_SECONDS
        )
