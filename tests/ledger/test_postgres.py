"""Connections to PostgreSQL: DATABASE_URL, sessions that a failover left read-only, servers that fall silent, and PgBouncer."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import make_url

from app.destinations.formats.registry import format_of
from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger import postgres
from app.ledger.driver import session
from app.ledger.engine import Ledger
from app.ledger.pool import Pool
from app.ledger.recording.arrival import Policy, Route
from app.ledger.recording.writer import GroupWriter
from app.ledger.schema import check_schema, upgrade
from app.ledger.upkeep.connections import connection_problem
from app.ledger.upkeep.processes import Process, report
from app.model import Rules
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.makers import arrival_of, change, count, execute_beside, one
from tests.support.pgbouncer import MISSING, PROGRAM, PgBouncer
from tests.support.proxy import Proxy

pytestmark = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)


def with_query(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}"


# -- how many connections


def test_no_more_connections_than_the_pool_may_have_and_doctor_adds_up_those_of_all(ledger_url: str) -> None:
    ledger = Ledger(ledger_url, pool=Pool(1, 2))
    with ledger.read(), ledger.read() as tx:
        assert connection_problem(tx, 20) is None
        with pytest.raises(LedgerUnavailable), ledger.read():
            pass
    for number in range(12):
        ledger.transact(lambda tx, number=number: report(tx, Process(f"web-{number}", "web", "host", number, 0)))  # type: ignore[misc]
    with ledger.read() as tx:
        room = int(tx.run("SELECT current_setting('max_connections')::int").scalar_one())
        problem = connection_problem(tx, 20)
        assert problem is not None
        assert "12 processes may open 240 connections" in problem
        fits = int(re.findall(r"DATABASE_POOL_MAX to (\d+)", problem)[0])
        assert 12 * fits <= room < 240
        assert connection_problem(tx, fits) is None
    ledger.close()


# -- DATABASE_URL


def test_options_of_the_url_are_honoured_so_two_tenants_have_two_ledgers(ledger_url: str) -> None:
    tenants = []
    for name in ("tenant_a", "tenant_b"):
        execute_on(ledger_url, f"CREATE SCHEMA {name}")
        ledger = Ledger(with_query(ledger_url, f"options=-csearch_path%3D{name}"))
        upgrade(ledger)
        check_schema(ledger)
        change(ledger, "INSERT INTO counters (name, value) VALUES (?, 1)", name)
        tenants.append(ledger)
    for ledger, name in zip(tenants, ("tenant_a", "tenant_b"), strict=True):
        assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name LIKE 'tenant%'") == (1,)
        assert one(ledger, "SELECT current_schema()") == (name,)
        assert one(ledger, "SHOW lock_timeout") == ("10s",), "those of ours stand beside them"
        ledger.close()


def test_an_option_of_the_url_wins_over_ours(ledger_url: str) -> None:
    ledger = Ledger(with_query(ledger_url, "options=-c%20statement_timeout%3D5s"))
    assert one(ledger, "SHOW statement_timeout") == ("5s",)
    ledger.close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("schema=tenant_a", r"schema cannot be used: .*search_path"),
        ("currentSchema=tenant_a", r"currentSchema cannot be used: .*search_path"),
        ("ssl=true", r"sslmode=require"),
        ("connection_limit=5&pool_timeout=3", r"connection_limit cannot be used"),
        ("hunter2%20secret=1", r"the parameter after the \? cannot be used"),
        ("pgbouncer=perhaps", r"pgbouncer is true or false"),
    ],
)
def test_a_parameter_that_means_nothing_here_is_named_with_what_to_do(ledger_url: str, query: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Ledger(with_query(ledger_url, query))
    assert "DATABASE_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_of_several_hosts_the_one_that_takes_writes_is_used(ledger_url: str) -> None:
    parsed = make_url(ledger_url)
    folder = parsed.query["host"]
    for hosts in (f"host=/nowhere,{folder}", f"host=/nowhere&host={folder}"):
        ledger = Ledger(f"postgresql://postgres@/{parsed.database}?{hosts}")
        assert count(ledger, "events") == 0
        ledger.close()
    execute_beside(ledger_url, f"ALTER DATABASE {parsed.database} SET default_transaction_read_only = on")
    ledger = Ledger(f"postgresql://postgres@/{parsed.database}?host=/nowhere,{folder}")
    with pytest.raises(LedgerUnavailable, match="read-only"):
        count(ledger, "events")
    ledger.close()


# -- a failover


def test_sessions_that_became_read_only_are_replaced_and_the_transaction_is_run_again(
    ledger: Ledger, ledger_url: str
) -> None:
    name = make_url(ledger_url).database
    execute_on(ledger_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    ledger.close()
    for ids in range(1, 4):  # several, at once in the pool
        with ThreadPoolExecutor(ids) as pool:
            list(pool.map(lambda _: count(ledger, "events"), range(ids)))
    with pytest.raises(LedgerUnavailable) as caught:
        change(ledger, "INSERT INTO counters (name, value) VALUES ('x', 1)")
    assert caught.value.reason == "read-only"
    holds = [threading.Event(), threading.Event()]

    def hold(_: int) -> None:
        with ledger.read() as tx:
            tx.run("SELECT 1")
            holds[0].set()
            holds[1].wait(PATIENCE_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold, 1)  # one more session from before, that returns to the pool later
        holds[0].wait(PATIENCE_SECONDS)
        execute_on(beside(ledger_url), f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert count(ledger, "events") == 0
        for number in range(3):
            change(ledger, "INSERT INTO counters (name, value) VALUES (?, 1)", f"x{number}")
        holds[1].set()
        held.result(PATIENCE_SECONDS)
    ledger.transact(lambda tx: tx.run("INSERT INTO counters (name, value) VALUES ('last', 1)"))
    assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name LIKE 'x%' OR name = 'last'") == (4,)


def test_a_write_outside_of_transact_works_at_its_second_try(ledger: Ledger, ledger_url: str) -> None:
    name = make_url(ledger_url).database
    execute_on(ledger_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    ledger.close()
    assert count(ledger, "events") == 0
    execute_on(beside(ledger_url), f"ALTER DATABASE {name} RESET default_transaction_read_only")
    with pytest.raises(LedgerUnavailable):
        change(ledger, "INSERT INTO counters (name, value) VALUES ('x', 1)")
    change(ledger, "INSERT INTO counters (name, value) VALUES ('x', 1)")


def test_a_statement_whose_result_changed_with_the_schema_is_prepared_again(ledger: Ledger, ledger_url: str) -> None:
    for _ in range(8):  # often enough to be prepared
        assert one(ledger, "SELECT * FROM counters") is None
    other = Ledger(ledger_url)
    change(other, "ALTER TABLE counters ADD COLUMN later TEXT")
    other.close()
    found = ledger.transact(lambda tx: tx.run("SELECT * FROM counters").all())
    assert found == []


# -- silence


@pytest.fixture
def proxy(ledger_url: str) -> Iterator[Proxy]:
    made = Proxy(f"{make_url(ledger_url).query['host']}/.s.PGSQL.5432")
    yield made
    made.close()


@pytest.fixture
def through(proxy: Proxy, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger behind the proxy, which is given one second for an answer."""
    monkeypatch.setattr(postgres, "DEADLINE_SECONDS", 1.0)
    monkeypatch.setattr(session.Session, "deadline_seconds", 1.0)
    monkeypatch.setattr(session, "PING_SECONDS", 0.5)
    ledger = Ledger(f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(ledger_url).database}")
    yield ledger
    proxy.restore()
    ledger.close()


def read_again(ledger: Ledger) -> None:
    count(ledger, "events")


def write_again(ledger: Ledger) -> None:
    change(ledger, "UPDATE counters SET value = 1")


def transact(ledger: Ledger) -> None:
    ledger.transact(lambda tx: tx.reserve_ids(1))


def enter(ledger: Ledger) -> None:
    with ledger.write() as tx:
        tx.enter(["a"], 1, "SELECT 1")


def take_all(ledger: Ledger) -> None:
    """Every connection of the pool at once."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ledger.transact(lambda tx: tx.run("SELECT pg_sleep(0.1)").all()), range(3)))


@pytest.mark.parametrize("use", [read_again, write_again, transact, enter], ids=lambda use: use.__name__)
def test_a_server_that_acknowledges_and_never_answers_is_given_up_and_its_connections_dropped(
    through: Ledger, proxy: Proxy, use: Callable[[Ledger], Any]
) -> None:
    take_all(through)
    proxy.silence()
    with pytest.raises(LedgerUnavailable, match=r"no answer from PostgreSQL within 1 s") as caught:
        use(through)
    assert caught.value.reason == "unreachable"
    for _ in range(4):
        use(through)


def test_silence_at_the_commit_is_given_up_too(through: Ledger, proxy: Proxy) -> None:
    def change_and_lose_the_server() -> None:
        with through.write() as tx:
            tx.run("UPDATE counters SET value = 1")
            proxy.silence()

    with pytest.raises(LedgerUnavailable, match="no answer"):
        change_and_lose_the_server()
    write_again(through)


def test_a_server_that_is_silent_from_the_first_byte_is_unavailable_and_then_used(
    through: Ledger, proxy: Proxy
) -> None:
    proxy.silence(new=True)
    with pytest.raises(LedgerUnavailable):
        read_again(through)
    proxy.restore()
    read_again(through)


def test_a_connection_that_was_idle_is_tried_first_so_nothing_fails(
    through: Ledger, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PING_AFTER_SECONDS", 0.0)
    take_all(through)
    proxy.silence()
    write_again(through)
    read_again(through)


def test_a_longer_deadline_is_for_one_transaction(through: Ledger) -> None:
    with through.read() as tx:
        tx.set_deadline(None)
        tx.run("SELECT pg_sleep(1.5)").all()
    with pytest.raises(LedgerUnavailable, match="no answer"), through.read() as tx:
        tx.run("SELECT pg_sleep(30)").all()


def test_a_client_that_the_server_hears_no_more_of_gives_up_its_locks(
    through: Ledger, ledger: Ledger, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's end of such a connection is open, in the middle of a transaction, and would stay so for hours."""
    monkeypatch.setattr(postgres, "SESSION", postgres.SESSION + " -c idle_in_transaction_session_timeout=1000")
    change(through, "INSERT INTO counters (name, value) VALUES ('x', 1)")

    def change_and_vanish() -> None:
        with through.write() as tx:
            tx.run("UPDATE counters SET value = 2 WHERE name = 'x'")
            proxy.silence()

    with pytest.raises(LedgerUnavailable):
        change_and_vanish()
    change(ledger, "UPDATE counters SET value = 3 WHERE name = 'x'")
    assert one(ledger, "SELECT value FROM counters WHERE name = 'x'") == (3,)


def test_a_pipeline_that_was_cut_off_gives_up_its_locks(through: Ledger, ledger: Ledger, proxy: Proxy) -> None:
    """Before its end nothing limits it: it is not a statement, and not idle either."""
    change(through, "INSERT INTO counters (name, value) VALUES ('x', 1)")

    def begin_and_vanish() -> None:
        with through.write() as tx, tx._driver() as driver, driver.pipeline():
            driver.execute("UPDATE counters SET value = 2 WHERE name = 'x'")
            driver.pgconn.send_flush_request()
            driver.pgconn.flush()
            wait_for(lambda: one(ledger, BUSY)[0] > 0)
            proxy.silence()

    with pytest.raises(LedgerUnavailable):
        begin_and_vanish()
    wait_for(lambda: one(ledger, BUSY) == (0,))
    change(ledger, "UPDATE counters SET value = 3 WHERE name = 'x'")


BUSY = (
    "SELECT COUNT(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'counters'"
    " AND l.mode = 'RowExclusiveLock' AND l.pid <> pg_backend_pid()"
)


def test_each_session_has_limits(ledger: Ledger) -> None:
    for name, milliseconds in postgres.LIMITS.items():
        assert one(ledger, f"SHOW {name}") == (f"{milliseconds // 1000}s",)


# -- PgBouncer


POOLERS = {"as it comes": {}, "options ignored": {"ignore_startup_parameters": "options"}}
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture(params=[*POOLERS], ids=lambda name: name.replace(" ", "-"))
def pooled_url(request: pytest.FixtureRequest, ledger_url: str) -> Iterator[str]:
    """The same database behind PgBouncer in transaction mode."""
    pooler = PgBouncer(ledger_url, **POOLERS[request.param])
    yield pooler.url
    pooler.close()


@needs_pgbouncer
@pytest.mark.parametrize("query", ["", "?pgbouncer=true"])
def test_everything_works_behind_pgbouncer_in_transaction_mode(pooled_url: str, query: str) -> None:
    ledgers = [Ledger(pooled_url + query) for _ in range(2)]  # two processes: their statements share names
    check_schema(ledgers[0])
    policy = Policy(Rules(), [Route("main", format_of("events"))])
    writers = [GroupWriter(ledger, policy, lambda _: None, writers=2) for ledger in ledgers]
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda n: writers[n % 2].record(arrival_of(n)), range(160)))
    assert {receipt.outcome for receipt in receipts} == {"sale"}
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda n: writers[(n + 1) % 2].record(arrival_of(n)), range(160)))
    assert {receipt.outcome for receipt in receipts} == {"duplicate"}
    for ledger, writer in zip(ledgers, writers, strict=True):
        assert ledger.is_pooled
        for name, milliseconds in postgres.LIMITS.items():
            assert one(ledger, f"SHOW {name}") == (f"{milliseconds // 1000}s",)
        assert count(ledger, "deliveries") == 160
        writer.stop()
        ledger.close()


@needs_pgbouncer
def test_the_schema_is_upgraded_through_pgbouncer(pooled_url: str, ledger_url: str) -> None:
    execute_on(ledger_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    ledger = Ledger(pooled_url)
    upgrade(ledger)
    check_schema(ledger)
    ledger.close()


@needs_pgbouncer
def test_options_that_the_pooler_does_not_pass_on_are_refused_in_plain_words(pooled_url: str, ledger_url: str) -> None:
    execute_on(ledger_url, "CREATE SCHEMA tenant_a")
    ledger = Ledger(f"{pooled_url}?options=-csearch_path%3Dtenant_a")
    with pytest.raises(ConfigurationError, match="does not pass them on"):
        count(ledger, "counters")
    ledger.close()


def test_a_direct_connection_is_not_taken_for_a_pooled_one(ledger: Ledger) -> None:
    assert count(ledger, "events") == 0
    assert not ledger.is_pooled


def beside(url: str) -> str:
    """Another database of the same server."""
    return make_url(url).set(database="postgres").render_as_string(hide_password=False)


def execute_on(url: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
