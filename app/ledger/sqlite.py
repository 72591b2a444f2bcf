"""Connections to SQLite: their settings, how long they wait for a lock, and the files that closing leaves."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.inserts import PREPARED
from app.ledger.pool import Pool
from app.ledger.sealing.cipher import Cipher

LOCK_TIMEOUT_SECONDS = 5.0
LOCK_RETRY_SECONDS = 0.0005
"""SQLite's own busy handler sleeps up to 100 ms between tries; asking again this often keeps the wait to the lock's length."""


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
        "cache_size=-16000",
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
