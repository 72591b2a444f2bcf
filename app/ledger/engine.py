"""One ledger, two databases: SQLite (WAL, synchronous FULL) and PostgreSQL. The only place that knows how they differ in
locking, clock and ids."""

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.inserts import MOST_ROWS, PREPARED, Rows, array, json_insert, json_rows, values_insert
from app.ledger.placeholders import to_psycopg
from app.ledger.tables import metadata

T = TypeVar("T")
LOCK_TIMEOUT_SECONDS = 5.0
LOCK_RETRY_SECONDS = 0.0005
"""SQLite's own busy handler sleeps up to 100 ms between tries; asking again this often keeps the wait to the lock's length."""
RETRIES = 5
_HOLD_PERSONS = "SELECT id FROM persons WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"
RETRIED_STATES = ("40001", "40P01")  # serialization_failure, deadlock_detected
_LOCK = (
    "SELECT count(pg_advisory_xact_lock(k)) FROM"
    " (SELECT DISTINCT hashtextextended(n, 0) AS k FROM unnest(%s::text[]) AS n ORDER BY 1) AS sorted"
)
_ENTER = (
    f"SELECT ({_LOCK}), extract(epoch FROM clock_timestamp()),"
    " ARRAY(SELECT nextval('bridge_ids') FROM generate_series(1, %s)), set_config('enable_seqscan', 'off', true)"
)
"""What is selected is worked out from left to right: the clock is read, and ids are drawn, once the locks are held."""


class Ledger:
    """Transactions on one database. Safe to share between threads; fork after, not before, the first use.

    url: sqlite:///path or postgresql://…; clock: seconds since 1970, for SQLite only (PostgreSQL's own clock is asked).
    Everything that the database refuses is a LedgerUnavailable.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise ConfigurationError(
                "DATABASE_URL cannot be read: is a character in its password not encoded?"
            ) from None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = create_engine(
                parsed,
                connect_args={"timeout": 0, "check_same_thread": False, "cached_statements": PREPARED},
                pool_size=4,
                max_overflow=28,
                pool_timeout=5,
                hide_parameters=True,  # an error's text goes to the log, and the parameters are bodies and e-mail addresses
            )
            event.listen(self.engine, "connect", _configure_sqlite)
        else:
            self.engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                connect_args={"connect_timeout": 5, "options": "-c statement_timeout=20000 -c lock_timeout=10000"},
                pool_size=4,
                max_overflow=16,
                pool_timeout=5,
                hide_parameters=True,
            )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first moment (SQLite), committed at the end of the block."""
        with self._connection() as connection, connection.begin():
            if self.is_sqlite:
                _begin_immediate(connection)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent look that waits for no writer."""
        with self._connection() as connection, connection.begin():
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a write transaction, and again where the database asks for it (deadlock, serialization failure, or a
        unique key that another process took between our look and our insert). `work` may so run several times."""
        for attempt in range(1, RETRIES + 1):
            try:
                with self.write() as connection:
                    return work(connection)
            except LedgerUnavailable as error:
                if attempt == RETRIES or _sqlstate(error.__cause__) not in RETRIED_STATES:
                    raise
            except IntegrityError:
                if attempt == RETRIES or self.is_sqlite:
                    raise
            time.sleep(random.uniform(0.001, 0.01) * attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    def now(self, connection: Connection) -> int:
        """Milliseconds since 1970, by the database's clock, so that all machines agree."""
        if self.is_sqlite:
            return int(self._clock() * 1000)
        seconds = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        return int(float(seconds) * 1000)

    def reserve_ids(self, connection: Connection, count: int) -> list[int]:
        """`count` fresh ids, ascending, in the order in which writers got here."""
        if self.is_sqlite:
            last = connection.exec_driver_sql(
                "UPDATE counters SET value = value + ? WHERE name = 'ids' RETURNING value", (count,)
            ).scalar_one()
            return list(range(last - count + 1, last + 1))
        rows = connection.exec_driver_sql("SELECT nextval('bridge_ids') FROM generate_series(1, %s)", (count,))
        return sorted(rows.scalars())

    def lock(self, connection: Connection, names: Sequence[str]) -> None:
        """Holds off, until the transaction ends, every other one that locks one of `names`. SQLite has one writer anyway."""
        if not self.is_sqlite and names:
            connection.exec_driver_sql(f"SELECT ({_LOCK})", (array(names),))

    def enter(
        self, connection: Connection, names: Sequence[str], count: int, look: str, *values: Any
    ) -> tuple[int, list[int], Sequence[Any]]:
        """`lock`, then `now` and `reserve_ids`, then the rows of the statement `look`; all in one round trip.

        From here on PostgreSQL's planner looks things up by index. Its statistics of a young ledger are those of empty
        tables, for which it reads all of them instead, and keeps to that for as long as a statement stays prepared.
        """
        if self.is_sqlite:
            return self.now(connection), self.reserve_ids(connection, count), self.run(connection, look, *values).all()
        with self._driver(connection) as driver:
            with (
                driver.pipeline()
            ):  # two statements: the second one's view of the ledger begins when the locks are held
                entered = driver.execute(_ENTER, (array(names), count), prepare=True)
                looked = driver.execute(self._translate(look), values, prepare=True)
            _, seconds, ids, _ = entered.fetchone()
            return int(float(seconds) * 1000), sorted(ids), looked.fetchall()

    def look_again(self, connection: Connection, person_ids: Sequence[int], look: str, *values: Any) -> Sequence[Any]:
        """The rows of `look` once nobody else can change these persons until the transaction ends. For PostgreSQL."""
        with self._driver(connection) as driver:
            with driver.pipeline():
                driver.execute(_HOLD_PERSONS, (array(person_ids),), prepare=True)
                looked = driver.execute(self._translate(look), values, prepare=True)
            rows: Sequence[Any] = looked.fetchall()
            return rows

    def insert(
        self, connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Inserts `rows` (values in the order of `columns`)."""
        self.insert_all(connection, [Rows(table, columns, rows)])

    def insert_all(self, connection: Connection, batches: Sequence[Rows], *, commits: bool = False) -> None:
        """Inserts the rows of all `batches` in as few statements as the database allows.

        commits: this ends the transaction; PostgreSQL is told so in the same round trip.
        """
        batches = [batch for batch in batches if batch.rows]
        if not self.is_sqlite:
            self._insert_json(connection, batches, commits=commits)
            return
        for batch in batches:
            for start in range(0, len(batch.rows), MOST_ROWS):
                chunk = batch.rows[start : start + MOST_ROWS]
                statement = values_insert(batch.table, batch.columns, len(chunk), batch.unless_there)
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(chunk)))

    def _insert_json(self, connection: Connection, batches: Sequence[Rows], *, commits: bool) -> None:
        if not batches:
            return
        statement = json_insert(tuple((batch.table, batch.columns, batch.unless_there) for batch in batches))
        values = tuple(json_rows(batch.columns, batch.rows) for batch in batches)
        with self._driver(connection) as driver:
            if not commits:
                driver.execute(statement, values)
                return
            with driver.pipeline():
                driver.execute(statement, values, prepare=True)
                driver.commit()

    def run(self, connection: Connection, statement: str, *values: Any) -> Any:
        """Executes `statement`, written with ? for each of `values`; a list or tuple value may only be given to `among`."""
        return connection.exec_driver_sql(self._translate(statement), values)

    def run_many(self, connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """`run` for each of `rows`, in one call of the driver."""
        if rows:
            connection.exec_driver_sql(self._translate(statement), list(rows))

    def among(self, column: str, values: Sequence[str] | Sequence[int]) -> tuple[str, str]:
        """A condition that `column` is one of `values`, and the one parameter it takes: static SQL for any number of them."""
        if self.is_sqlite:
            return f"{column} IN (SELECT value FROM json_each(?))", json.dumps(list(values))
        return f"{column} = ANY(?)", array(values)  # a text of no declared type: it becomes an array of the column's

    def close(self) -> None:
        """Closes the pool. Idempotent."""
        self.engine.dispose()

    def _translate(self, statement: str) -> str:
        return statement if self.is_sqlite else to_psycopg(statement)

    @contextmanager
    def _driver(self, connection: Connection) -> Iterator[Any]:
        """psycopg's own connection beneath `connection`; its errors are those that SQLAlchemy would have raised."""
        driver, dialect = connection.connection.driver_connection, self.engine.dialect
        assert driver is not None
        assert dialect.loaded_dbapi is not None
        try:
            yield driver
        except dialect.loaded_dbapi.Error as error:
            lost = bool(driver.closed)
            if lost:
                connection.invalidate(error)
            kind = dialect.loaded_dbapi.Error
            raise DBAPIError.instance(
                None, None, error, kind, hide_parameters=True, connection_invalidated=lost, dialect=dialect
            ) from error

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except IntegrityError:
            raise
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            raise LedgerUnavailable(f"the ledger cannot be used now: {_first_line(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated or type(error) is DatabaseError:  # SQLite: no database, or a damaged one
                raise LedgerUnavailable(f"the ledger cannot be used now: {_first_line(error)}") from error
            raise
        except sqlite3.DatabaseError as error:
            raise LedgerUnavailable(f"the ledger cannot be used now: {error}") from error


def create_all(engine: Engine) -> None:
    """The tables as they are declared, for comparing with what the migrations make."""
    metadata.create_all(engine)


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-16000",
        "wal_autocheckpoint=6000",  # 24 MB: pages that every group touches are copied back once for many groups
    ):
        _patiently(lambda pragma=pragma: connection.execute(f"PRAGMA {pragma}"))  # type: ignore[misc]


def _begin_immediate(connection: Connection) -> None:
    raw = connection.connection.driver_connection
    assert raw is not None
    _patiently(lambda: raw.execute("BEGIN IMMEDIATE"))


def _patiently(work: Callable[[], object]) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(LOCK_RETRY_SECONDS)


def _sqlstate(error: BaseException | None) -> str | None:
    original = getattr(error, "orig", None)
    return getattr(original, "sqlstate", None)


def _first_line(error: SQLAlchemyError) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).strip().split("\n", 1)[0]


@contextmanager
def look(ledger: Ledger) -> Iterator[Connection]:
    """A read for people, planned by the values that are asked for."""
    with ledger.read() as connection:
        plan_by_value(ledger, connection)
        yield connection


def plan_by_value(ledger: Ledger, connection: Connection) -> None:
    """PostgreSQL, until the transaction ends: a plan that must do for every value walks down the ids of all events to find
    the newest one of a source, which takes seconds where that source is rare."""
    if not ledger.is_sqlite:
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")
