"""Returns the space of removed rows to the file system while the ledger is in use."""

import time
from collections.abc import Sequence
from typing import Any

from app.errors import LedgerError
from app.ledger.actions.retention import Pace
from app.ledger.engine import Ledger
from app.ledger.sqlite import patiently
from app.ledger.upkeep import bloat
from app.ledger.upkeep.compaction import Estimate, Progress, Released, compact_tables, estimate_tables

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
OLD_FILE = (
    "The free space in this SQLite file was not returned: version 0.1.0 created it. Run `bridge prune --compact` once,"
    " which rewrites the file while writers wait."
)


def release_space(
    ledger: Ledger,
    pace: Pace = Pace(),  # noqa: B008 - immutable
    *,
    seconds: float | None = None,
    tables: Sequence[str] = GROWING,
    progress: Progress = lambda _line: None,
) -> Released:
    """Returns free space to the file system; on PostgreSQL only where there is enough of it to be worth the work.

    Others read and write meanwhile. May be interrupted at any moment, and repeated. seconds: after so long nothing new is begun.
    Raises LedgerUnavailable.
    """
    if not ledger.is_sqlite:
        return compact_tables(ledger, pace, seconds, tables, progress)
    freed, over_at = 0, None if seconds is None else time.monotonic() + seconds
    with ledger.autocommit() as connection:
        raw: Any = connection.connection.driver_connection
        page_size, mode = _pragma(raw, "page_size"), _pragma(raw, "auto_vacuum")
        while mode == INCREMENTAL and not pace.is_stopping() and (over_at is None or time.monotonic() < over_at):
            began, before = time.monotonic(), _free_pages(raw)
            if not before:
                break
            patiently(lambda: raw.executescript(_FREE_SOME))  # execute() would stop after the first page
            freed += (before - _free_pages(raw)) * page_size
            pace.rest(time.monotonic() - began)
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # only then does the file get shorter
        is_left = mode != INCREMENTAL and _free_pages(raw) * page_size >= bloat.LEAST_BYTES
    return Released(freed, (OLD_FILE,) if is_left else ())


_FREE_SOME = f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({PAGES}); COMMIT"


def estimate_space(ledger: Ledger) -> list[Estimate]:
    """What release_space would return, by table and index, what is largest first; SQLite knows it of the whole file only.
    Changes nothing. Raises LedgerUnavailable."""
    if not ledger.is_sqlite:
        return estimate_tables(ledger)
    with ledger.autocommit() as connection:
        raw: Any = connection.connection.driver_connection
        page_size, free = _pragma(raw, "page_size"), _free_pages(raw)
        found = Estimate("the ledger's file", _pragma(raw, "page_count") * page_size, free * page_size)
    return [found] if free else []


def compact(ledger: Ledger) -> None:
    """Rewrites a SQLite file without the free space in it. Writers wait meanwhile, and it needs that much room again.

    Raises LedgerError on PostgreSQL; LedgerUnavailable.
    """
    if not ledger.is_sqlite:
        raise LedgerError(
            "--compact rewrites a SQLite file. On PostgreSQL, `bridge prune` and `bridge db compact` shrink tables without it"
        )
    with ledger.autocommit() as connection:
        raw: Any = connection.connection.driver_connection
        patiently(lambda: raw.execute(f"PRAGMA auto_vacuum={INCREMENTAL}"))
        patiently(lambda: raw.execute("VACUUM"))
    ledger.overwrite_log()


def _free_pages(raw: Any) -> int:
    return _pragma(raw, "freelist_count")


def _pragma(raw: Any, name: str) -> int:
    return int(raw.execute(f"PRAGMA {name}").fetchone()[0])
