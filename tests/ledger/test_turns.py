"""A worker's turn: outcomes of many attempts and the next claim, in a few round sent and in the right order, on both databases."""

import threading
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from app.errors import LedgerUnavailable
from app.ledger.driver.session import Session
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import destination_state, ensure_destination
from app.ledger.forwarding.claims import Claimed, Wish
from app.ledger.forwarding.outcomes import Outcome
from app.ledger.forwarding.turn import Turn, take_turn
from tests.ledger.test_forwarding import HOLD, Bench


@pytest.fixture
def bench(ledger: Ledger) -> Bench:
    return Bench(ledger)


def now_of(ledger: Ledger) -> int:
    with ledger.read() as tx:
        return tx.now()


def take(
    ledger: Ledger, token: str = "1.1", limit: int = 0, rate: float | None = None, **fields: object
) -> list[Claimed]:
    wish = Wish(token, limit, 60_000, HOLD, rate) if limit else None
    turn = Turn("main", "print", wish=wish, **fields)  # type: ignore[arg-type]
    return ledger.transact(lambda tx: take_turn(tx, turn))[1]


def outcomes_of(claimed: list[Claimed], result: str = "delivered", due_at: int | None = None) -> list[Outcome]:
    status = {"delivered": 200, "permanent": 400}.get(result, 500)
    return [Outcome(c, result, now, 5, status, 'o\'hara "é" %s ?', "{}", None, due_at) for c in claimed for now in [0]]  # type: ignore[arg-type]


def test_a_turn_records_gives_back_and_claims(bench: Bench, ledger: Ledger) -> None:
    for person in range(10):
        bench.add(person, due_at=1)
    first = take(ledger, "1.1", 4)
    assert [c.id for c in first] == [1, 2, 3, 4]
    second = take(
        ledger,
        "1.2",
        8,
        outcomes=[
            *outcomes_of(first[:1]),
            *outcomes_of(first[1:2], "permanent"),
            *outcomes_of(first[2:3], "unknown", 7),
        ],
        unsent=first[3:],
    )
    assert [c.id for c in second] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert [c.attempts for c in second[:2]] == [1, 0]
    rows = bench.rows("status, due_at, claim, attempts, last_status, last_error")
    assert rows[0] == ("delivered", None, None, 1, 200, 'o\'hara "é" %s ?')
    assert rows[1][:5] == ("dead", None, None, 1, 400)
    assert rows[2][:5] == ("retrying", 7, "1.2", 1, 500)
    assert rows[3][:4] == ("pending", 1, "1.2", 0)
    assert take(ledger, doubtful=["1.2"]) == []
    assert all(claim is None for (claim,) in bench.rows("claim"))


def test_an_outcome_under_a_claim_that_was_lost_changes_nothing(bench: Bench, ledger: Ledger) -> None:
    bench.add(1, due_at=1)
    slept = take(ledger, "1.1", 4)
    take(ledger, doubtful=["1.1"])
    (again,) = take(ledger, "2.1", 4)
    take(ledger, outcomes=outcomes_of(slept, "permanent"), unsent=slept)
    assert bench.rows("status, claim, attempts") == [("pending", "2.1", 0)]
    take(ledger, outcomes=outcomes_of([again]))
    assert bench.rows("status, claim, attempts") == [("delivered", None, 1)]


def test_a_turn_sends_as_many_statements_for_many_outcomes_as_for_few(
    bench: Bench, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ledger.is_sqlite:
        pytest.skip("SQLite's statements are chunks of 32 rows")
    for person in range(400):
        bench.add(person, due_at=1)
    sent: list[int] = []
    wait = Session.wait

    def count(self: Session, *args: Any, **options: Any) -> Any:
        sent[-1] += 1
        return wait(self, *args, **options)

    claimed = take(ledger, "1.0", 4)
    monkeypatch.setattr(Session, "wait", count)
    for number, limit in enumerate((4, 128, 128, 4), 1):
        sent.append(0)
        claimed = take(ledger, f"1.{number}", limit, outcomes=outcomes_of(claimed))
        assert len(claimed) == limit
    assert max(sent) <= 20, sent
    assert max(sent[1:]) - min(sent[1:]) <= 1, sent  # on a busy machine a pipeline's answers come in one part more


def test_a_turn_claims_nothing_of_a_destination_that_its_outcomes_show_to_be_down(bench: Bench, ledger: Ledger) -> None:
    for person in range(40):
        bench.add(person, due_at=1)
    later = now_of(ledger) + 600_000
    claimed = take(ledger, "1.1", 16)
    assert take(ledger, "1.2", 16, outcomes=outcomes_of(claimed, "unknown", later)) == []
    with ledger.read() as tx:
        assert destination_state(tx, "main").is_open


def test_workers_that_take_turns_at_once_send_each_delivery_once_and_a_persons_one_at_a_time(
    bench: Bench, ledger: Ledger
) -> None:
    with ledger.write() as tx:
        ensure_destination(tx, "main", "print")
    for n in range(120):
        bench.add(n % 30, due_at=1)
    sent: list[int] = []
    flying: dict[int, int] = {}
    problems: list[str] = []
    lock = threading.Lock()
    begin = threading.Barrier(4)

    def work(worker: int) -> None:
        claimed: list[Claimed] = []
        begin.wait()
        for turn in range(200):
            with lock:
                for one in claimed:
                    del flying[(one.id - 1) % 30]
            claimed = take(ledger, f"{worker}.{turn}", 8, rate=100_000, outcomes=outcomes_of(claimed))
            with lock:
                for one in claimed:
                    person = (one.id - 1) % 30
                    if flying.setdefault(person, one.id) != one.id:
                        problems.append(f"{one.id} beside {flying[person]}")
                    sent.append(one.id)
            if len(sent) == 120 and not claimed:
                return

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert problems == []
    assert sorted(sent) == list(range(1, 121))
    for person in range(30):
        assert [i for i in sent if (i - 1) % 30 == person] == sorted(i for i in sent if (i - 1) % 30 == person)
    assert {row[0] for row in bench.rows("status")} == {"delivered"}


GIVEN = (("id", "bigint"), ("text", "text"), ("number", "integer"))


def test_rows_are_given_to_a_statement_whatever_they_hold(bench: Bench, ledger: Ledger) -> None:
    count = 100
    for person in range(count):
        bench.add(person)
    texts = [None, "", "'", '"', "\\", "?", "%s", "{}", "é\u2028\n", "a" * 5000]
    rows = [(n + 1, texts[n % len(texts)], None if n % 7 == 0 else -n) for n in range(count)]
    changes = "last_error = given.text, last_status = given.number"
    statement = f"UPDATE deliveries SET {changes} FROM given WHERE deliveries.id = given.id"
    with ledger.write() as tx:
        tx.run_given(statement, GIVEN, rows)
        tx.run_given(statement, GIVEN, [])
    assert bench.rows("id, last_error, last_status") == rows


def test_what_fails_in_a_pipeline_is_raised_at_its_end_and_undoes_the_transaction(bench: Bench, ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.write() as tx, tx.pipeline():
            tx.run("UPDATE deliveries SET status = 'dead'")
            tx.run("UPDATE no_such_table SET x = 1")

    bench.add(1)
    with pytest.raises((DBAPIError, LedgerUnavailable)):
        fail()
    assert bench.rows("status") == [("pending",)]
    with ledger.write() as tx:
        with tx.pipeline():
            now, rows = tx.later_now(), tx.later("SELECT status FROM deliveries WHERE id = ?", 1)
        assert [tuple(row) for row in rows()] == [("pending",)]
        assert abs(now() - tx.now()) < 60_000
