"""Connections to SQLite: their settings, how long they wait for a lock, and the files that closing leaves."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.inserts import PREPARED
from app.ledger.pool import Pool
from app.ledger.sealing.cipher import Cipher

LOCK_TIMEOUT_SECONDS = 5.0
LOCK_RETRY_SECONDS = 0.0005
"""SQLite's own busy handler sleeps up to 100 ms between tries; asking again this often keeps the wait to the lock's length."""
ROWS_A_CHECKPOINT = 2000
"""Changed by this process; about as many pages of the write-ahead log. See Checkpoints."""


def make_engine(url: URL, pool: Pool, cipher: Cipher | None = None) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": 0, "check_same_thread": False, "cached_statements": PREPARED},
        pool_size=pool.kept,
        max_overflow=pool.overflow,
        pool_timeout=5,
        hide_parameters=True,  # an error's text goes to the log, and the parameters are bodies and e-mail addresses
    )
    event.listen(engine, "connect", _configure)
    if cipher is not None:

        def unseal(connection: sqlite3.Connection, _record: object) -> None:
            connection.row_factory = lambda _cursor, row: cipher.unseal_row(row)

        event.listen(engine, "connect", unseal)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    patiently(lambda: _prepare_new_file(connection))
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-2000",  # each connection has its own, and a commit of another process empties it; the system caches the file
        "secure_delete=ON",  # what is erased is overwritten, in pages and in free ones
        "wal_autocheckpoint=6000",  # 24 MB: pages that every group touches are copied back once for many groups
    ):
        patiently(partial(connection.execute, f"PRAGMA {pragma}"))


def _prepare_new_file(connection: sqlite3.Connection) -> None:
    """Enables incremental vacuum. On an existing file this would take the write lock."""
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")


def begin_immediate(connection: Connection) -> None:
    raw: Any = connection.connection.driver_connection
    patiently(lambda: raw.execute("BEGIN IMMEDIATE"))


def begin_reading(connection: Connection) -> None:
    """Begins to see the ledger as it is now. No writer is waited for; but while another process opens the file as the only one, it
    locks it for a moment (SQLITE_BUSY_RECOVERY)."""
    raw: Any = connection.connection.driver_connection
    raw.execute("BEGIN")
    patiently(lambda: raw.execute("PRAGMA schema_version").fetchone())


def changes(connection: Connection) -> int:
    """How many rows this connection has changed so far."""
    raw: Any = connection.connection.driver_connection
    return int(raw.total_changes)


class Checkpoints:
    """Copies pages from the write-ahead log into the database on a thread of its own, while others write.

    Only a writer can begin the log again from its start, so wal_autocheckpoint stays as it is. But when a commit reaches that size
    and makes its checkpoint, little is left to copy, and the commits behind it do not wait. If a checkpoint fails here, that commit
    does it.
    """

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=rw"
        self._lock = threading.Lock()
        self._rows = 0
        self._due = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def note(self, rows: int) -> None:
        """`rows` were changed and committed. Returns at once."""
        with self._lock:
            self._rows += rows
            if self._rows < ROWS_A_CHECKPOINT or self._stopping:
                return
            self._rows = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()
        self._due.set()

    def stop(self) -> None:
        """Ends the thread. Idempotent."""
        with self._lock:
            self._stopping = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(LOCK_TIMEOUT_SECONDS)

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            with suppress(sqlite3.Error), closing(sqlite3.connect(self._uri, timeout=0, uri=True)) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def empty_wal(engine: Engine) -> None:
    """Moves the write-ahead log into the database file, so that a copy of that file alone is complete.

    If another process is reading or writing, the last one to close does it.
    """
    if engine.pool.checkedin():  # type: ignore[attr-defined]
        with suppress(SQLAlchemyError, sqlite3.Error), engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def overwrite_wal(engine: Engine) -> bool:
    """Empties the write-ahead log, whose older pages still hold erased data. Waits up to LOCK_TIMEOUT_SECONDS for readers and
    writers. Returns whether the log is empty."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        with suppress(SQLAlchemyError, sqlite3.Error), engine.connect() as connection:
            busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            if not busy:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(LOCK_RETRY_SECONDS)


def patiently(work: Callable[[], object]) -> None:
    """Retries `work` while the database is locked, for up to LOCK_TIMEOUT_SECONDS."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(LOCK_RETRY_SECONDS)
