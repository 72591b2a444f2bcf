"""One ledger, two databases: SQLite (WAL, synchronous FULL) and PostgreSQL. The only place that knows how they differ in
locking, clock and ids."""

import random
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.failures import PREPARED_STATES, is_passing, is_stale, reason_of, sqlstate, unavailable
from app.ledger.pool import POOL, Pool
from app.ledger.sealing.cipher import Cipher
from app.ledger.sqlite import (
    Checkpoints,
    begin_immediate,
    begin_reading,
    changes,
    empty_wal,
    make_engine,
    overwrite_wal,
)
from app.ledger.transaction import Tx

if TYPE_CHECKING:
    from app.ledger.postgres import Server

T = TypeVar("T")
RETRIES = 5


class Ledger:
    """Transactions on one database. Safe to share between threads; fork after, not before, the first use.

    url: sqlite:///path or postgresql://…; clock: seconds since 1970, for SQLite only (PostgreSQL uses its own clock).
    cipher: encrypts columns. An error of the database is raised as LedgerUnavailable.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.time, pool: Pool = POOL, cipher: Cipher | None = None
    ) -> None:
        self._clock = clock
        self.cipher = cipher
        self._url = url
        self.is_sqlite = url.startswith("sqlite")
        self._server: Server | None = None
        self._checkpoints: Checkpoints | None = None
        if self.is_sqlite:
            try:
                self.engine = make_engine(make_url(url), pool, cipher)
            except (ArgumentError, ValueError):
                raise ConfigurationError("DATABASE_URL cannot be read") from None
            if self.engine.url.database:
                self._checkpoints = Checkpoints(Path(self.engine.url.database))
        else:
            from app.ledger import postgres

            self._server = postgres.Server(url)
            self.engine = self._server.engine(pool, cipher)
        weakref.finalize(self, _close, self.engine, self._checkpoints)  # also when the process ends

    @contextmanager
    def raw(self) -> "Iterator[Ledger]":
        """The same ledger without decryption: sealed values are returned as stored."""
        if self.cipher is None:
            yield self
            return
        ledger = Ledger(self._url, clock=self._clock)
        try:
            yield ledger
        finally:
            ledger.close()

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler such as PgBouncer was found between us and PostgreSQL. Known after the first connection."""
        return self._server is not None and self._server.is_pooled

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that holds the write lock from its first moment (SQLite), committed at the end of the block."""
        before = after = 0
        with self._connection() as connection, connection.begin():
            if self.is_sqlite:
                begin_immediate(connection)
                before = changes(connection)
            else:
                self._limit(connection)
            yield self._tx(connection)
            if self.is_sqlite:
                after = changes(connection)
        if self._checkpoints is not None:
            self._checkpoints.note(after - before)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent read that waits for no writer."""
        with self._connection() as connection, connection.begin():
            if self.is_sqlite:
                begin_reading(connection)
            else:
                self._limit(connection)
            yield self._tx(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """A read whose statements all see the ledger at one moment, however long they take."""
        if self.is_sqlite:
            with self.read() as tx:
                yield tx
            return
        with self._connection() as connection, connection.begin():
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._limit(connection)
            yield self._tx(connection)

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """A connection outside any transaction, for statements that PostgreSQL refuses within one. It is closed at the end of the
        block, which also discards its session settings."""
        with self._connection() as connection:
            try:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")
            finally:
                connection.invalidate()

    def transact(self, work: Callable[[Tx], T]) -> T:
        """Runs `work` in a write transaction, and retries it after a deadlock, a serialization failure, a unique key that another
        process took between our read and our insert, or a session that a failover left read-only. `work` may therefore run
        several times."""
        for attempt in range(1, RETRIES + 1):
            try:
                with self.write() as tx:
                    return work(tx)
            except LedgerUnavailable as error:
                if attempt == RETRIES or not is_passing(error):
                    raise
            except IntegrityError:
                if attempt == RETRIES or self.is_sqlite:
                    raise
            time.sleep(random.uniform(0.001, 0.01) * attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    def _limit(self, connection: Connection) -> None:
        """Begins a transaction behind a pooler, which passes on no limits of the session."""
        if self._server is not None and self._server.is_pooled:
            self._server.limit(connection)

    def _tx(self, connection: Connection) -> Tx:
        return Tx(connection, is_sqlite=self.is_sqlite, clock=self._clock, cipher=self.cipher)

    def pool_state(self) -> tuple[int, int]:
        """How many connections of this process are in use, and how many are idle."""
        pool: Any = self.engine.pool
        return pool.checkedout(), pool.checkedin()

    def overwrite_log(self) -> bool:
        """Removes erased data from the database's files (SQLite). False if other processes prevented it. PostgreSQL removes old
        rows itself, by VACUUM."""
        return not self.is_sqlite or overwrite_wal(self.engine)

    def close(self) -> None:
        """Closes the pool; SQLite's file then holds everything by itself, unless another process has it open. Idempotent."""
        _close(self.engine, self._checkpoints)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                try:
                    yield connection
                except DBAPIError as error:
                    self._drop_if_stale(connection, error)
                    raise
        except SQLAlchemyError as error:
            failure = unavailable(error)
            if failure is None:
                raise
            raise failure from error
        except sqlite3.DatabaseError as error:
            raise LedgerUnavailable(f"the ledger cannot be used now: {error}", reason=reason_of(str(error))) from error

    def _drop_if_stale(self, connection: Connection, error: DBAPIError) -> None:
        """Discards all pooled sessions after a failover, which may leave them read-only."""
        if not is_stale(error):
            return
        if sqlstate(error) in PREPARED_STATES and self._server is not None:
            self._server.is_pooled = True
        connection.invalidate(error)
        self.engine.dispose()


@contextmanager
def look(ledger: Ledger) -> Iterator[Tx]:
    """A read for pages and commands. PostgreSQL plans each statement for its actual values."""
    with ledger.read() as tx:
        tx.plan_by_value()
        yield tx


def _close(engine: Engine, checkpoints: Checkpoints | None) -> None:
    if checkpoints is not None:
        checkpoints.stop()
    if engine.dialect.name == "sqlite":
        empty_wal(engine)
    engine.dispose()
