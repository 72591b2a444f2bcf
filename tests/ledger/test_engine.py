"""One ledger on two databases: schema, ids, retries, and what becomes of failures."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from sqlalchemy.exc import IntegrityError

from app.destinations.formats.registry import format_of
from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt, Route
from app.ledger.recording.writer import GroupWriter
from app.ledger.schema import current_revision, upgrade
from app.ledger.sqlite import ROWS_A_CHECKPOINT
from app.ledger.transaction import Tx
from app.logs import without_details
from app.model import Inbound, Rules
from app.sources.stripe.source import SOURCE as STRIPE
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.makers import away, change, checkout, count, execute_beside, one


def test_ids_are_unique_and_ascending_whoever_asks_at_once(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url)  # as of another process

    def reserve(number: int) -> list[list[int]]:
        mine = (ledger, other)[number % 2]
        return [mine.transact(lambda tx: tx.reserve_ids(1 + number % 5)) for _ in range(15)]

    with ThreadPoolExecutor(8) as pool:
        batches = [batch for batches in pool.map(reserve, range(8)) for batch in batches]
    other.close()
    ids = [identity for batch in batches for identity in batch]
    assert len(ids) == len(set(ids)) == 15 * sum(1 + n % 5 for n in range(8))
    assert all(batch == sorted(batch) for batch in batches)
    assert min(ids) > 0


def test_what_fails_leaves_nothing(ledger: Ledger) -> None:
    def fail(tx: Tx) -> None:
        tx.run("INSERT INTO counters (name, value) VALUES ('x', 1)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.transact(fail)
    assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name = 'x'") == (0,)


def test_a_reader_waits_for_no_writer_and_sees_only_what_is_committed(ledger: Ledger) -> None:
    with ledger.write() as tx:
        tx.run("INSERT INTO counters (name, value) VALUES ('x', 1)")
        assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name = 'x'") == (0,)
    assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name = 'x'") == (1,)


def test_writers_of_several_processes_take_turns(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url)
    ledger.transact(lambda tx: tx.run("INSERT INTO counters (name, value) VALUES ('turns', 0)"))

    def add(number: int) -> None:
        mine = (ledger, other)[number % 2]
        for _ in range(20):
            mine.transact(lambda tx: tx.run("UPDATE counters SET value = value + 1 WHERE name = 'turns'"))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    other.close()
    assert one(ledger, "SELECT value FROM counters WHERE name = 'turns'") == (120,)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_deadlock_is_run_again(ledger: Ledger) -> None:
    change(ledger, "INSERT INTO counters (name, value) VALUES ('a', 0), ('b', 0)")
    both = threading.Barrier(2)
    runs: list[str] = []

    def work(order: str) -> None:
        def cross(tx: Tx) -> None:
            tx.run("SET LOCAL deadlock_timeout = '50ms'")
            for step, name in enumerate(order):
                tx.run("UPDATE counters SET value = value + 1 WHERE name = ?", name)
                if step == 0 and len(runs) < 2:
                    runs.append(order)
                    both.wait(PATIENCE_SECONDS)

        ledger.transact(cross)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ("ab", "ba")))
    assert one(ledger, "SELECT MIN(value), MAX(value) FROM counters WHERE name IN ('a', 'b')") == (2, 2)


def test_a_key_that_another_took_meanwhile_is_looked_for_again_where_there_can_be_another_writer(
    ledger: Ledger,
) -> None:
    calls = []

    def insert(tx: Tx) -> str:
        calls.append(1)
        name = "ids" if len(calls) == 1 else "fresh"
        tx.run("INSERT INTO counters (name, value) VALUES ('ids2', 1) ON CONFLICT DO NOTHING")
        tx.run("INSERT INTO dedupe_keys (key, conversion_id) VALUES (?, 1)", name)
        return name

    ledger.transact(lambda tx: tx.run("INSERT INTO dedupe_keys (key, conversion_id) VALUES ('ids', 1)"))
    if ledger.is_sqlite:
        with pytest.raises(IntegrityError):
            ledger.transact(insert)
        assert len(calls) == 1
    else:
        assert ledger.transact(insert) == "fresh"
        assert len(calls) == 2


def test_work_that_fails_for_another_reason_is_not_run_again(ledger: Ledger) -> None:
    calls = []

    def fail(_: Any) -> None:
        calls.append(1)
        raise KeyError("bug")

    with pytest.raises(KeyError):
        ledger.transact(fail)
    assert len(calls) == 1


def test_a_database_that_is_away_is_unavailable_and_comes_back_by_itself(ledger: Ledger, ledger_url: str) -> None:
    assert count(ledger, "events") == 0
    with away(ledger, ledger_url):
        for use in (ledger.read, ledger.write):
            with pytest.raises(LedgerUnavailable, match="the ledger cannot be used now"), use():
                pass
        with pytest.raises(LedgerUnavailable):
            ledger.transact(lambda tx: tx.reserve_ids(1))
        with pytest.raises(LedgerUnavailable):
            current_revision(ledger)
    assert count(ledger, "events") == 0


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_connections_that_the_server_ended_are_replaced(ledger: Ledger, ledger_url: str) -> None:
    assert count(ledger, "events") == 0
    execute_beside(ledger_url)
    with pytest.raises(LedgerUnavailable):
        count(ledger, "events")
    assert count(ledger, "events") == 0


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_lock_that_is_held_too_long_is_unavailable(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Ledger(ledger_url)
    monkeypatch.setattr("app.ledger.sqlite.LOCK_TIMEOUT_SECONDS", 0.1)
    with ledger.write(), pytest.raises(LedgerUnavailable, match="locked"), other.write():
        pass
    with other.write():
        pass
    other.close()


@pytest.mark.parametrize("content", [b"this is not a database" * 300, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    ledger = Ledger(f"sqlite:///{path}")
    for use in (ledger.read, ledger.write):
        with pytest.raises(LedgerUnavailable), use() as tx:
            tx.run("SELECT * FROM events")
    ledger.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:hidden@host:port/x", "hidden", "postgresql://u:hid/den@h:p/x"],
)
def test_a_url_that_cannot_be_read_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        Ledger(url)
    assert "hid" not in str(caught.value)


def test_no_value_of_a_failed_statement_reaches_the_log(ledger: Ledger) -> None:
    address = "ada@example.com"  # not in the lines that fail: a traceback shows them
    with pytest.raises(IntegrityError) as caught, ledger.write() as tx:
        tx.run("INSERT INTO identifiers (kind, value, seen_at) VALUES ('email', ?, 1)", address)
    entry = structlog.processors.format_exc_info(None, "error", {"event": "x", "exc_info": caught.value})
    text = without_details(None, "error", entry)["exception"]
    assert "IntegrityError" in text
    assert "identifiers" in text
    assert "ada@example.com" not in text


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_all_that_a_detail_quotes_goes_and_the_traceback_stays(ledger: Ledger) -> None:
    def fail(tx: Tx) -> None:
        statement = "INSERT INTO marks (reference, key, kind) VALUES ('r', 'k', E'two\\nlines of ada@example.com')"
        driver = tx.connection.connection.driver_connection
        assert driver is not None
        driver.execute(statement)

    with pytest.raises(psycopg.Error) as caught:
        ledger.transact(fail)
    assert "example.com" in str(caught.value)
    with pytest.raises(RuntimeError) as outer:
        raise RuntimeError("the end") from caught.value
    entry = structlog.processors.format_exc_info(None, "error", {"event": "x", "exc_info": outer.value})
    text = without_details(None, "error", entry)["exception"]
    assert "example.com" not in text
    assert text.rstrip().endswith("RuntimeError: the end")


def arrival(number: int, headers: dict[str, Any] | None = None) -> Arrival:
    inbound = Inbound(checkout(number), {})
    mapped = STRIPE.map(inbound, Rules(accept_test_events=True))
    return Arrival("stripe", mapped, inbound, headers or {}, datetime.now(UTC))


@pytest.fixture
def groups() -> list[int]:
    """How many events were committed together, commit by commit."""
    return []


@pytest.fixture
def writer(ledger: Ledger, groups: list[int]) -> Iterator[GroupWriter]:
    policy = Policy(Rules(), [Route("main", format_of("events"))])
    made = GroupWriter(ledger, policy, lambda receipts: groups.append(len(receipts)))
    yield made
    made.stop()


def record_together(ledger: Ledger, writer: GroupWriter, arrivals: list[Arrival]) -> list[Receipt | LedgerUnavailable]:
    """Hands all to the writer while the ledger is held, so that what comes after the first goes in one group."""

    def hand_over(one_of_them: Arrival) -> Receipt | LedgerUnavailable:
        try:
            return writer.record(one_of_them)
        except LedgerUnavailable as error:
            return error

    with ThreadPoolExecutor(len(arrivals)) as pool:
        with ledger.write() as tx:
            if not ledger.is_sqlite:
                tx.run("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            pending = [pool.submit(hand_over, arrivals[0])]
            wait_for(lambda: writer._threads and not writer._queue)
            pending += [pool.submit(hand_over, each) for each in arrivals[1:]]
            wait_for(lambda: len(writer._queue) == len(arrivals) - 1)
        return [each.result(PATIENCE_SECONDS) for each in pending]


def test_events_that_come_together_are_committed_together(
    ledger: Ledger, writer: GroupWriter, groups: list[int]
) -> None:
    receipts = record_together(ledger, writer, [arrival(n) for n in range(20)])
    assert {r.outcome for r in receipts if isinstance(r, Receipt)} == {"sale"}
    assert sum(groups) == 20
    assert groups == [1, 19]
    assert count(ledger, "events") == count(ledger, "deliveries") == 20


def test_one_bad_event_in_a_group_fails_alone_and_the_others_are_recorded(ledger: Ledger, writer: GroupWriter) -> None:
    bad = arrival(99, headers={"x": object()})  # cannot be written down
    with structlog.testing.capture_logs():  # outside of a process of ours a traceback is drawn with all its variables
        receipts = record_together(
            ledger, writer, [*(arrival(n) for n in range(5)), bad, *(arrival(n) for n in range(5, 10))]
        )
    assert isinstance(receipts[5], LedgerUnavailable)
    assert [r.outcome for r in receipts if isinstance(r, Receipt)] == ["sale"] * 10
    assert count(ledger, "events") == count(ledger, "deliveries") == 10
    assert writer.record(arrival(99)).outcome == "sale"


def test_the_same_event_twice_in_one_group_is_one_row(ledger: Ledger, writer: GroupWriter) -> None:
    receipts = record_together(ledger, writer, [arrival(0), arrival(1), arrival(1), arrival(1)])
    outcomes = sorted(r.outcome for r in receipts if isinstance(r, Receipt))
    assert outcomes == ["duplicate", "duplicate", "sale", "sale"]
    assert one(ledger, "SELECT COUNT(*), MAX(received_count) FROM events") == (2, 3)


def test_an_outage_fails_its_group_and_the_writer_lives_on(
    ledger: Ledger, ledger_url: str, writer: GroupWriter
) -> None:
    with away(ledger, ledger_url), pytest.raises(LedgerUnavailable):
        writer.record(arrival(1))
    assert writer.record(arrival(1)).outcome == "sale"


def test_a_stopped_writer_finishes_what_waits_and_takes_no_more(ledger: Ledger, writer: GroupWriter) -> None:
    with ThreadPoolExecutor(5) as pool:
        pending = [pool.submit(writer.record, arrival(n)) for n in range(5)]
        wait_for(lambda: all(p.done() for p in pending) or writer._threads)
        recorded = [p.result(PATIENCE_SECONDS).outcome for p in pending]
        writer.stop()
    assert recorded == ["sale"] * 5
    with pytest.raises(LedgerUnavailable):
        writer.record(arrival(6))
    assert count(ledger, "events") == 5


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        ("SELECT 'a%b', ?", ("v",), ("a%b", "v")),
        ("SELECT 'a@b' LIKE '%@%', ?", (7,), (True, 7)),
        ("SELECT 10 % 3", (), (1,)),
        ("SELECT 10 % ?", (3,), (1,)),
        ("SELECT 'why?', 'it''s %s ?', ?", (1,), ("why?", "it's %s ?", 1)),
        ('SELECT ? AS "100%?"', (1,), (1,)),
        ("SELECT 1 -- 100 % of what?\n + ?", (1,), (2,)),
        ("SELECT /* a ? and a % */ 5", (), (5,)),
        ("SELECT '%s', '%%', '%(name)s'", (), ("%s", "%%", "%(name)s")),
    ],
)
def test_a_percent_sign_or_question_mark_in_a_statement_is_itself_on_both_databases(
    ledger: Ledger, statement: str, values: tuple[int | str, ...], expected: tuple[bool | int | str, ...]
) -> None:
    with ledger.read() as tx:
        assert tuple(tx.run(statement, *values).one()) == expected


def test_a_percent_sign_is_itself_in_the_statement_that_intake_looks_up_with(ledger: Ledger) -> None:
    with ledger.write() as tx:
        *_, rows = tx.enter(["a"], 1, "SELECT 'x%y', ?", "v")
    assert [tuple(row) for row in rows] == [("x%y", "v")]


def test_sqlite_moves_what_was_written_into_its_file_beside_the_writers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    upgrade(ledger)
    before = path.stat().st_size
    rows = [(f"row {number}", number) for number in range(ROWS_A_CHECKPOINT)]
    ledger.transact(lambda tx: tx.run_many("INSERT INTO counters (name, value) VALUES (?, ?)", rows))
    wait_for(lambda: path.stat().st_size > before)  # long before the log has the size at which a commit does it
    ledger.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.db"]
