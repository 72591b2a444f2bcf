"""Claims, order, pauses and what outcomes leave behind, on both databases."""

import threading
import time
from typing import Any

import pytest

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import BREAKER_FAILURES, DestinationState, destination_state, ensure_destination
from app.ledger.forwarding.claims import Claimed, Wish, claim, defer_blocked, has_due, return_unsent
from app.ledger.forwarding.outcomes import Outcome, finish
from app.ledger.forwarding.sweep import claims_of, expired_claims, register_worker, set_back, take_over
from app.ledger.forwarding.turn import Turn, take_turn

NOW = 1_800_000_000_000
HERE = ("here", "boot 1", "pid:[1]")
HOLD = 900_000
COLUMNS = (
    "id", "conversion_id", "person_id", "event_id", "source", "kind", "destination", "dedupe_key", "status", "payload",
    "due_at", "created_at",
)  # fmt: skip


class Bench:
    """A ledger with deliveries put there directly."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._last = 0
        with ledger.write() as tx:
            ensure_destination(tx, "main", "print")

    def add(
        self, person: int, kind: str = "sale", due_at: int | None = NOW, created_at: int = NOW, to: str = "main"
    ) -> int:
        self._last += 1
        n = self._last
        row = (n, n, person, n, "stripe", kind, to, f"{kind}:{n}", "pending", "{}", due_at, created_at)
        with self.ledger.write() as tx:
            tx.insert(tables.deliveries, COLUMNS, [row])
        return n

    def claim(self, limit: int = 100, now: int = NOW, token: str = "1.1", **options: float) -> list[Claimed]:
        with self.ledger.write() as tx:
            return claim(tx, "main", token, limit=limit, now=now, claim_ms=60_000, hold_ms=HOLD, **options)

    def finish(
        self, claimed: list[Claimed], result: str, *, due_at: int | None = None, status: int = 200, now: int = NOW
    ) -> None:
        outcomes = [Outcome(c, result, now, 5, status=status, error="why", due_at=due_at) for c in claimed]  # type: ignore[arg-type]
        with self.ledger.write() as tx:
            finish(tx, "main", outcomes, now=now, token_print="print")

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        with self.ledger.read() as tx:
            return [tuple(r) for r in tx.run(f"SELECT {columns} FROM deliveries ORDER BY id").all()]

    def state(self) -> DestinationState:
        with self.ledger.read() as tx:
            return destination_state(tx, "main")


@pytest.fixture
def bench(ledger: Ledger) -> Bench:
    return Bench(ledger)


def ids(claimed: list[Claimed]) -> list[int]:
    return [c.id for c in claimed]


def test_what_is_due_is_claimed_once(bench: Bench) -> None:
    bench.add(1)
    bench.add(2)
    bench.add(3, due_at=NOW + 1)
    assert ids(bench.claim()) == [1, 2]
    assert bench.claim() == []


def test_a_person_is_sent_one_delivery_at_a_time_in_ledger_order(bench: Bench) -> None:
    for _ in range(3):
        bench.add(7)
    first = bench.claim()
    assert ids(first) == [1]
    assert bench.claim() == [], "the second waits while the first is being sent"
    bench.finish(first, "delivered")
    assert ids(bench.claim()) == [2]


def test_a_sale_waits_for_its_persons_undelivered_lead_for_hold_seconds(bench: Bench) -> None:
    lead = bench.add(7, "lead")
    bench.add(7)
    bench.add(8)
    first = bench.claim()
    assert ids(first) == [lead, 3]
    bench.finish(first[:1], "unknown", due_at=NOW + 10_000_000, status=500)
    assert bench.claim() == []
    assert bench.claim(now=NOW + HOLD - 1) == []
    assert ids(bench.claim(now=NOW + HOLD)) == [2]


def test_a_retrying_or_dead_sale_stops_nothing(bench: Bench) -> None:
    bench.add(7)
    bench.add(7)
    bench.add(7)
    bench.finish(bench.claim(), "unknown", due_at=NOW + 5000, status=500)
    second = bench.claim()
    assert ids(second) == [2]
    bench.finish(second, "permanent", status=422)
    assert ids(bench.claim()) == [3]


def test_a_dead_lead_holds_nothing(bench: Bench) -> None:
    bench.add(7, "lead")
    bench.add(7)
    bench.finish(bench.claim(), "permanent", status=400)
    assert ids(bench.claim()) == [2]


def test_an_outcome_under_a_lost_claim_changes_nothing(bench: Bench) -> None:
    bench.add(1)
    slept = bench.claim(token="1.1")
    with bench.ledger.write() as tx:
        stale = expired_claims(tx, NOW + 60_000)
        assert take_over(tx, stale, now=NOW + 60_000) == 1
    again = bench.claim(now=NOW + 60_000, token="2.1")
    assert again[0].attempts == 1, "what the first sender did is unknown, and counts"
    bench.finish(slept, "permanent", status=400)
    assert bench.rows("status, claim") == [("retrying", "2.1")]
    bench.finish(again, "delivered")
    assert bench.rows("status, claim, due_at, attempts") == [("delivered", None, None, 2)]


def test_claims_of_a_dead_worker_are_taken_over_at_once(bench: Bench) -> None:
    with bench.ledger.write() as tx:
        dead = register_worker(tx, HERE, 1, "1", NOW)
        alive = register_worker(tx, HERE, 2, "2", NOW)
    bench.add(1)
    bench.add(2)
    assert ids(bench.claim(limit=1, token=f"{dead}.1")) == [1]
    assert ids(bench.claim(limit=1, token=f"{alive}.1")) == [2]
    with bench.ledger.write() as tx:
        assert take_over(tx, claims_of(tx, [dead]), now=NOW) == 1
    assert ids(bench.claim(token=f"{alive}.2")) == [1]


def test_giving_back_spends_no_attempt(bench: Bench) -> None:
    bench.add(1)
    claimed = bench.claim()
    with bench.ledger.write() as tx:
        return_unsent(tx, claimed)
    assert bench.rows("status, claim, attempts") == [("pending", None, 0)]
    assert ids(bench.claim(token="1.2")) == [1]


def test_a_refused_token_pauses_the_destination_and_spends_no_attempt(bench: Bench) -> None:
    bench.add(1)
    bench.add(2)
    bench.finish(bench.claim(limit=1), "unauthorized", due_at=NOW, status=401)
    assert bench.state().paused_reason == "the destination answered 401: check DESTINATION_TOKEN"
    assert bench.rows("status, attempts") == [("pending", 0), ("pending", 0)]
    assert bench.claim() == []
    with bench.ledger.read() as tx:
        assert not has_due(tx, "main", NOW)
    with bench.ledger.write() as tx:
        ensure_destination(tx, "main", "print")
    assert bench.claim() == [], "the same token stays refused"
    with bench.ledger.write() as tx:
        ensure_destination(tx, "main", "another print")
    assert ids(bench.claim()) == [1, 2]


def test_an_ill_destination_is_probed_with_one_delivery_at_a_time_until_it_is_well(bench: Bench) -> None:
    for person in range(30):
        bench.add(person)
    bench.finish(bench.claim(limit=BREAKER_FAILURES), "unknown", due_at=NOW + 60_000, status=503)
    assert bench.state().is_open
    assert bench.claim() == [], "a pause comes first"
    probe = bench.claim(now=NOW + 1000)
    assert len(probe) == 1
    assert bench.claim(now=NOW + 1000) == [], "one probe at a time"
    bench.finish(probe, "unknown", due_at=NOW + 60_000, status=503, now=NOW + 1000)
    assert bench.claim(now=NOW + 2000) == []
    probe = bench.claim(now=NOW + 4000)
    bench.finish(probe, "delivered", now=NOW + 4000)
    assert not bench.state().is_open
    assert len(bench.claim(now=NOW + 4000)) == 20, "full speed at once"


def test_being_told_to_slow_down_is_no_illness(bench: Bench) -> None:
    for person in range(20):
        bench.add(person)
    bench.finish(bench.claim(limit=12), "transient", due_at=NOW + 60_000, status=429)
    assert not bench.state().is_open


def test_the_rate_is_shared_and_saves_up_a_second_at_most(bench: Bench) -> None:
    for person in range(40):
        bench.add(person)
    assert len(bench.claim(rate=10)) == 10
    assert bench.claim(rate=10) == []
    assert len(bench.claim(rate=10, now=NOW + 500)) == 5
    assert len(bench.claim(rate=10, now=NOW + 60_000)) == 10


def test_several_workers_never_claim_the_same_delivery_or_person(bench: Bench) -> None:
    for n in range(120):
        bench.add(n % 40)
    got: list[int] = []
    persons: list[int] = []

    def work(number: int) -> None:
        for turn in range(10):
            claimed = bench.claim(limit=7, token=f"{number}.{turn}")
            got.extend(ids(claimed))
            persons.extend((i - 1) % 40 for i in ids(claimed))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 40
    assert len(set(persons)) == 40


def test_attempts_are_kept_with_what_was_answered(bench: Bench) -> None:
    bench.add(1)
    bench.finish(bench.claim(), "unknown", due_at=NOW, status=500)
    bench.finish(bench.claim(), "delivered")
    with bench.ledger.read() as tx:
        rows = tx.run("SELECT number, result, status, error FROM attempts ORDER BY id").all()
    assert [tuple(r) for r in rows] == [(1, "unknown", 500, "why"), (2, "delivered", 200, "why")]


FUTURE = NOW + 3_600_000


def test_what_was_recorded_in_a_future_that_the_clock_has_left_does_not_wait_for_it(bench: Bench) -> None:
    """The clock was an hour ahead, and is set right."""
    bench.add(1, due_at=FUTURE, created_at=FUTURE)
    bench.add(2, due_at=FUTURE + 20_000, created_at=FUTURE)  # held for 20 s
    tried = bench.add(3, due_at=FUTURE - 10, created_at=NOW - 50)
    bench.add(4, due_at=NOW + 50_000, created_at=NOW - 50)  # waits for its next attempt, and rightly so
    bench.add(5, due_at=FUTURE, created_at=FUTURE)
    assert ids(bench.claim(now=FUTURE - 10, limit=2)) == [tried, 4]
    first = Claimed(tried, "1.1", "sale", "{}", f"sale:{tried}", 0, 0, NOW - 50, False)
    bench.finish([first], "unknown", due_at=FUTURE + 100_000, status=500, now=FUTURE - 10)
    with bench.ledger.write() as tx:
        return_unsent(tx, [Claimed(4, "1.1", "sale", "{}", "sale:4", 0, 0, NOW, False)])
        tx.run("UPDATE destinations SET rate_next_at = ?, probe_at = ?", FUTURE, FUTURE)
    assert ids(bench.claim(now=FUTURE, limit=3, token="1.2")) == [1, 4, 5]
    with bench.ledger.write() as tx:
        return_unsent(tx, [Claimed(i, "1.2", "sale", "{}", f"sale:{i}", 0, 0, NOW, False) for i in (1, 4)])
    for moved in (3, 0):
        with bench.ledger.write() as tx:
            assert set_back(tx, ["main"], now=NOW, longest_claim_ms=60_000) == moved
    assert bench.rows("id, due_at, created_at, claimed_until") == [
        (1, NOW, NOW, None),
        (2, NOW + 20_000, NOW, None),
        (3, NOW, NOW - 50, None),
        (4, NOW + 50_000, NOW - 50, None),
        (5, FUTURE, FUTURE, NOW + 60_000),
    ]
    assert (bench.state().rate_next_at, bench.state().probe_at) == (NOW, NOW + 30_000)
    assert ids(bench.claim(rate=100)) == []
    assert ids(bench.claim(rate=100, now=NOW + 1000)) == [1, 3]


def test_sales_behind_a_retrying_lead_are_set_aside_until_it_is_closed(bench: Bench) -> None:
    lead = bench.add(7, "lead")
    held = [bench.add(7) for _ in range(50)]
    free = [bench.add(100 + n) for n in range(10)]
    first = bench.claim(limit=1)
    assert ids(first) == [lead]
    bench.finish(first, "unknown", due_at=NOW + 5000, status=500)

    def put_aside(now: int = NOW) -> int:
        with bench.ledger.write() as tx:
            return defer_blocked(tx, "main", now=now, hold_ms=HOLD)

    assert (put_aside(), put_aside()) == (50, 0), "once"
    assert [due for identity, due in bench.rows("id, due_at") if identity in held] == [NOW + 5000] * 50
    assert ids(bench.claim()) == free, "nothing else waits"
    second = bench.claim(now=NOW + 5000)
    assert ids(second) == [lead]
    bench.finish(second, "delivered", now=NOW + 5001)
    assert ids(bench.claim(now=NOW + 5001)) == held[:1], "one at a time, and at once"


def test_nothing_is_set_aside_for_longer_than_the_hold(bench: Bench) -> None:
    lead = bench.add(7, "lead")
    bench.add(7)
    bench.finish(bench.claim(limit=1), "unknown", due_at=NOW + 10 * HOLD, status=500)
    with bench.ledger.write() as tx:
        assert defer_blocked(tx, "main", now=NOW, hold_ms=HOLD) == 1
    assert bench.rows("id, due_at") == [(lead, NOW + 10 * HOLD), (2, NOW + HOLD)]
    assert ids(bench.claim(now=NOW + HOLD)) == [2]


def test_a_claim_of_the_newest_takes_what_became_due_last_and_keeps_the_order_of_a_person(ledger: Ledger) -> None:
    now = int(time.time() * 1000)
    bench = Bench(ledger)
    old = [bench.add(person=n, due_at=now - 9000 + n, created_at=now) for n in range(1, 21)]
    lead = bench.add(person=100, kind="lead", due_at=now - 3, created_at=now)
    sale = bench.add(person=100, due_at=now - 2, created_at=now)
    new = bench.add(person=101, due_at=now - 1, created_at=now)
    later = bench.add(person=102, due_at=now + 60_000, created_at=now)
    wish = Wish("1.1", 4, 60_000, HOLD, newest=True)
    with ledger.write() as tx:
        _, claimed = take_turn(tx, Turn("main", "print", wish=wish))
    assert [one.id for one in claimed] == [*old[-2:], lead, new]
    assert not {sale, later} & {one.id for one in claimed}
