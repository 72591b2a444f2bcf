"""Everything that can break is broken while events come in; afterwards the books must balance.

`make test` runs a short form: on each database the rounds that teach most there. `make faults` (BRIDGE_FAULTS=long) runs all of
them with 20,000 events. BRIDGE_FAULTS_SEED makes other dice.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.account import books
from tests.faults.conftest import LONG, ROWS, SEED
from tests.faults.producer import Pile, Producer, make_pile
from tests.faults.site import TIMEOUT_SECONDS, Site, now_and_then
from tests.support.pgbouncer import MISSING, PROGRAM
from tests.support.scripted import FINAL, SILENT, Script, for_good, share_of, sometimes
from tests.support.stack_parts import can_make_namespaces

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

EVENTS = 20_000
"""Of the long form, in all."""
WELL: Script = lambda _key, _before: "ok"  # noqa: E731
ROUND_SECONDS = 150.0
"""Longer than that no round may take to be acknowledged, nor to be forwarded."""


class Round:
    """What is broken, for how many events, and what the destination does meanwhile. short: where it is part of `make test`."""

    def __init__(
        self,
        name: str,
        *breaks: str,
        script: Script = WELL,
        delay_seconds: float = 0.0,
        pause: tuple[float, float] = (0.1, 0.6),
        most: int = 1000 if LONG else 2,
        only: str | None = None,
        short: tuple[str, ...] = (),
        dead_share: float = 0.0,
    ) -> None:
        known: tuple[str, ...] = (only,) if only else DATABASES
        self.name = name
        self.breaks = breaks
        self.script = script
        self.delay_seconds = delay_seconds
        self.pause = pause
        self.most = most
        self.databases: list[str] = [d for d in known if LONG or d in short]
        self.dead_share = dead_share

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


DATABASES = ("sqlite", "postgresql")
LITE, GRES, BOTH = DATABASES[:1], DATABASES[1:], DATABASES
POOLED = "pgbouncer"
"""PostgreSQL behind PgBouncer in transaction mode: for rounds of its own."""
KILLS = ("kill_web", "kill_worker", "kill_valkey", "empty_valkey")
EVERYTHING = (*KILLS, "fill_ledger", "lock_ledger", "jump_clock")
ILL = ("500", "429", *sorted(SILENT))
ROUNDS = [
    Round("nothing"),
    Round("web killed", "kill_web", delay_seconds=0.01, short=BOTH),
    Round("worker killed", "kill_worker", delay_seconds=0.05, short=BOTH),
    Round("Valkey killed", "kill_valkey", pause=(0, 0.3), short=LITE),
    Round("Valkey emptied", "empty_valkey", pause=(0, 0.03), most=1000, short=LITE),
    Round("PostgreSQL restarted", "restart_postgres", only="postgresql", short=GRES),
    Round("failover to read-only", "fail_over", only="postgresql", short=GRES),
    Round("stores fall silent", "silence_stores", delay_seconds=0.02, most=2 if LONG else 1, short=LITE),  # and test_stuck.py
    Round("ledger full", "fill_ledger", short=BOTH),
    Round("ledger read-only", "lock_ledger", most=2 if LONG else 1, short=GRES),
    Round("clock jumps", "jump_clock", script=sometimes(("500",), 0.2, SEED), short=BOTH),
    Round("answers ill", script=sometimes(ILL, 0.3, SEED), short=LITE),
    *[Round(f"answers {what}", script=sometimes((what,), 0.3, SEED)) for what in ILL],
    Round("answers 1xx", script=share_of(refused=0.2, **{"1xx": 0.4}), dead_share=0.2, short=LITE),
    *[Round(f"answers {what}", script=for_good(what, 0.3), dead_share=0.3, short=LITE) for what in sorted(FINAL)],
    Round("destination moves", "move_destination", delay_seconds=0.02, most=3 if LONG else 1, short=LITE),
    Round("two workers of one host name", "add_namesake", delay_seconds=1.0, most=3 if LONG else 1, short=BOTH),
    Round("everything at once", *EVERYTHING, script=sometimes(ILL, 0.2, SEED), delay_seconds=0.02,
        most=1000 if LONG else 4, short=GRES),
    Round(
        "everything and PostgreSQL",
        *EVERYTHING,
        "restart_postgres",
        script=sometimes(("500", *sorted(SILENT)), 0.2, SEED),
        delay_seconds=0.02,
        only="postgresql",
    ),
    Round("through PgBouncer", only=POOLED),
    Round("PgBouncer, and all is killed", *KILLS, delay_seconds=0.02, only=POOLED, short=(POOLED,)),
    Round("PgBouncer, failover", "restart_postgres", "silence_stores", "fail_over", only=POOLED, most=4),
]  # fmt: skip
CHOSEN = [(database, r) for database in (*DATABASES, POOLED) for r in ROUNDS if database in r.databases]
COUNT = -(-EVENTS // len(CHOSEN)) if LONG else 90
A_SECOND = 250.0 if LONG else 150.0


def pile_of(database: str, kind: Round) -> Pile:
    """The events of a round."""
    return make_pile(f"{database[0]}{ROUNDS.index(kind)}", COUNT, SEED)


def test_no_two_rounds_speak_of_one_conversion() -> None:
    """Where they did, the later one found 22 of its 122 delivered, and no request for them in its own part of the notes."""
    seen: set[str] = set()
    for database, kind in CHOSEN:
        keys = pile_of(database, kind).keys
        assert not keys & seen, kind.name
        seen |= keys


@pytest.mark.parametrize(("database", "kind"), CHOSEN, ids=str)
def test_what_was_acknowledged_is_delivered_or_shown_dead(
    site_of: Callable[[str], Site], database: str, kind: Round
) -> None:
    if "add_namesake" in kind.breaks and not can_make_namespaces():
        pytest.skip("NOT TRIED: no PID namespace can be made here")
    if database == POOLED and PROGRAM is None:
        pytest.skip(MISSING)
    site = site_of(database)
    began = time.monotonic()
    pile = pile_of(database, kind)
    site.destination.script, site.destination.delay_seconds = kind.script, kind.delay_seconds
    first = len(site.destination.asked)
    killed = dict(site.killed)
    producer = Producer(site.stack.port, pile, a_second=A_SECOND, seed=SEED)
    breaker = Breaker(site, kind, lambda: producer.left > 0)
    try:
        acknowledged = producer.join(ROUND_SECONDS)
    finally:
        breaker.join()
        site.restore()
    assert acknowledged, f"{producer.left} of {len(pile.posts)} posts were not acknowledged: {producer.answers}"
    settled = wait_until(lambda: site.open_deliveries() == 0, ROUND_SECONDS)
    asked = site.destination.asked[first:]
    account = books(
        site.stack.ledger,
        pile.keys,
        producer.acknowledged,
        asked,
        worker_killed=site.killed["worker"] > killed["worker"],
        timeout_seconds=TIMEOUT_SECONDS,
    )
    refused = producer.posted - producer.answers[200]
    ROWS.append((
        database, kind.name, breaker.done, len(pile.events), producer.posted, refused, account.owed, account.delivered,
        account.dead, account.lost, account.doubled, f"{time.monotonic() - began:.1f}",
    ))  # fmt: skip
    assert settled, f"{account.still_open} deliveries are still open"
    assert account.problems == []
    assert account.owed == account.delivered + account.dead
    assert breaker.done or not kind.breaks, "nothing was broken: the round was over too soon"
    assert 500 not in producer.answers
    assert set(producer.answers) - {200, 503} == {a for a in producer.answers if isinstance(a, str)}
    if kind.dead_share:
        assert account.dead == sum(1 for key in pile.keys if kind.script(key, 0) in FINAL) > 0
    elif "kill_worker" not in kind.breaks:
        assert account.dead == 0


class Breaker:
    """Breaks things, one after another, while `goes_on()`."""

    def __init__(self, site: Site, kind: Round, goes_on: Callable[[], bool]) -> None:
        self.done = 0
        self._most = kind.most
        self._error: BaseException | None = None
        steps = [getattr(site, name) for name in kind.breaks]
        self._thread: threading.Thread | None = None
        if steps:
            step = now_and_then(*steps, dice=site.dice, pause=kind.pause)
            self._thread = threading.Thread(target=self._run, args=(step, goes_on), daemon=True)
            self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join(2 * ROUND_SECONDS)
            assert self._error or not self._thread.is_alive(), "what was broken is not fixed yet"
        if self._error is not None:
            raise self._error

    def _run(self, step: Callable[[], Any], goes_on: Callable[[], bool]) -> None:
        try:
            while goes_on() and self.done < self._most:
                step()
                self.done += 1
        except BaseException as error:
            self._error = error


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
