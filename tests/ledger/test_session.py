"""Several statements in one round trip to PostgreSQL (Session.exchange)."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from app.ledger.driver.session import Session, Statement, numbered
from app.ledger.engine import Ledger
from tests.support.makers import one

pytestmark = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)

ADD: Statement = ("INSERT INTO counters (name, value) VALUES (%s, %s::bigint)", ("x", 1))
COUNT: Statement = ("SELECT COUNT(*) FROM counters WHERE name = %s", ("x",))


@pytest.fixture
def session(ledger: Ledger) -> Iterator[Session]:
    with ledger.autocommit() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, Session)
        driver.autocommit = False
        yield driver


def status_of(session: Session) -> TransactionStatus:
    return TransactionStatus(session.pgconn.transaction_status)


def test_each_statement_sees_the_ones_before_it_and_the_transaction_stays_open(
    session: Session, ledger: Ledger
) -> None:
    assert session.exchange([COUNT, ADD, COUNT, ("SELECT %s, 'x%%y'", ("ä€😀",))]) == [
        [(0,)],
        [],
        [(1,)],
        [("ä€😀", "x%y")],
    ]
    assert status_of(session) == TransactionStatus.INTRANS
    assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name = 'x'") == (0,)
    assert session.exchange([COUNT], commits=True) == [[(1,)]]
    assert status_of(session) == TransactionStatus.IDLE
    assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name = 'x'") == (1,)


def test_everything_is_waited_for_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    wait = Session.wait

    def counting(self: Session, *arguments: Any, **options: Any) -> Any:
        waits.append(self)
        return wait(self, *arguments, **options)

    monkeypatch.setattr(Session, "wait", counting)
    session.exchange([COUNT, ADD, COUNT], commits=True)
    assert len(waits) == 1


@pytest.mark.parametrize("prepares", [True, False])
def test_what_follows_an_error_is_not_executed_and_the_session_stays_usable(
    session: Session, ledger: Ledger, prepares: bool
) -> None:
    """After a rollback psycopg drops all prepared statements of the session, ours too."""
    if not prepares:
        session.prepare_threshold = None
    for _ in range(3):
        session.exchange([COUNT, ADD])
        session.execute("SELECT 1", prepare=True)
        with pytest.raises(psycopg.errors.UniqueViolation):
            session.exchange([COUNT, ADD, ("UPDATE counters SET value = 2", ())], commits=True)
        assert status_of(session) == TransactionStatus.INERROR
        session.rollback()
    with pytest.raises(psycopg.errors.UndefinedTable):
        session.exchange([("SELECT 1 FROM missing WHERE 1 = %s::int", (1,)), ADD], commits=True)
    session.rollback()
    assert session.exchange([COUNT], commits=True) == [[(0,)]]
    held = session.execute("SELECT COUNT(*) FROM pg_prepared_statements WHERE name LIKE 'bridge%'").fetchone()
    assert held == (int(prepares),)


def test_values_that_no_buffer_holds_are_sent_while_their_answers_are_read(session: Session) -> None:
    body, text = b"\0\xff" * 2_000_000, "ä" * 2_000_000
    repeated: Statement = ("SELECT %b::bytea, %s::text", (body, text))
    assert session.exchange([repeated, repeated, repeated]) == [[(body, text)]] * 3


def test_a_text_with_nul_is_refused_before_anything_is_sent(session: Session) -> None:
    with pytest.raises(psycopg.DataError, match="NUL"):
        session.exchange([ADD, ("SELECT %s", ("a\0b",))], commits=True)
    assert status_of(session) == TransactionStatus.IDLE
    assert session.exchange([COUNT]) == [[(0,)]]


def test_a_session_that_the_server_ends_raises_why(session: Session, ledger: Ledger) -> None:
    session.exchange([COUNT])
    pid = session.info.backend_pid
    assert one(ledger, f"SELECT pg_terminate_backend({pid}, 10000)") == (True,)
    with pytest.raises(psycopg.OperationalError, match=r"terminat|closed|lost"):
        session.exchange([COUNT, ADD], commits=True)
    assert session.closed


def test_placeholders_are_numbered(ledger_url: str) -> None:
    assert numbered("SELECT %s, %b, %s") == "SELECT $1, $2, $3"
    assert numbered("'100 %%s' %% %s") == "'100 %s' % $1"
    assert numbered("SELECT 1") == "SELECT 1"
