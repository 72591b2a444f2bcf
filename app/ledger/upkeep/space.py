"""Gives the space of removed rows back: to the file system on SQLite, to the database on PostgreSQL."""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from app.errors import LedgerError
from app.ledger.actions.retention import Pace
from app.ledger.engine import Ledger
from app.ledger.sqlite import patiently
from app.ledger.transaction import Tx

PAGES = 50
"""Pages (of 4 KiB) that are given back in one transaction. 500 held the lock for a tenth of a second and more: webhooks waited."""
GROWING = (
    "events",
    "event_facts",
    "fill_ins",
    "dismissals",
    "deliveries",
    "attempts",
    "conflicts",
    "audit",
    "marks",
    "refusals",
    "sandbox_requests",
)
INCREMENTAL = 2


def release_space(ledger: Ledger, pace: Pace = Pace(), tables: Sequence[str] = GROWING) -> int:  # noqa: B008 - immutable
    """Returns how many bytes the file system got. 0 on PostgreSQL, which uses the space again, and on a SQLite file of
    version 0.1.0 (compact() changes that). Others read and write meanwhile. Raises LedgerUnavailable."""
    if not ledger.is_sqlite:
        for table in tables:
            if not pace.is_stopping():
                _vacuum(ledger, table)
        return 0
    freed = 0
    with ledger.autocommit() as connection:
        raw: Any = connection.connection.driver_connection
        (page_size,), (mode,) = raw.execute("PRAGMA page_size").fetchone(), raw.execute("PRAGMA auto_vacuum").fetchone()
        while mode == INCREMENTAL and not pace.is_stopping():
            began, before = time.monotonic(), _free_pages(raw)
            if not before:
                break
            patiently(lambda: raw.executescript(_FREE_SOME))  # execute() would stop after the first page
            freed += (before - _free_pages(raw)) * page_size
            pace.rest(time.monotonic() - began)
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # only then does the file get shorter
    return freed


_FREE_SOME = f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({PAGES}); COMMIT"


def compact(ledger: Ledger) -> None:
    """Rewrites a SQLite file without the free space in it. Writers wait meanwhile, and it needs that much room again.

    Raises LedgerError on PostgreSQL; LedgerUnavailable.
    """
    if not ledger.is_sqlite:
        raise LedgerError(
            "PostgreSQL uses the space of removed rows again by itself; to shrink its files, see VACUUM FULL"
        )
    with ledger.autocommit() as connection:
        raw: Any = connection.connection.driver_connection
        patiently(lambda: raw.execute(f"PRAGMA auto_vacuum={INCREMENTAL}"))
        patiently(lambda: raw.execute("VACUUM"))
    ledger.overwrite_log()


def _free_pages(raw: Any) -> int:
    return int(raw.execute("PRAGMA freelist_count").fetchone()[0])


def _vacuum(ledger: Ledger, table: str) -> None:
    with ledger.autocommit() as connection:
        Tx(connection, is_sqlite=False, clock=time.time).set_deadline(None)
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(f"VACUUM (SKIP_LOCKED) {table}"))
