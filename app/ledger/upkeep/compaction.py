"""Returns the space of removed rows to the file system on PostgreSQL while the ledger is in use.

VACUUM only cuts off empty pages at the end of a table, and what is old lies at the beginning. So rows of the last pages move to the
room that VACUUM found (moving.py), VACUUM cuts off the end, and indexes that are much larger than their entries need are rebuilt
beside the old ones (REINDEX CONCURRENTLY). Nothing here makes a writer wait for longer than one short transaction.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.ledger.actions.retention import Pace
from app.ledger.engine import Ledger
from app.ledger.failures import sqlstate
from app.ledger.tables import LARGEST_ID, metadata
from app.ledger.transaction import Tx
from app.ledger.upkeep.bloat import (
    SHARE_WORTH,
    Extent,
    Index,
    columns_of,
    extents,
    holder,
    horizon,
    measured,
    swollen_indexes,
)
from app.ledger.upkeep.moving import Moving

LOCK = 7_013_115_042_886_119
"""The advisory lock of the process that compacts."""
LEAST_VERSION = 140_000
PASSES = 3
LEAST_PAGES = 1000
LEAST_PROGRESS = 0.95
"""A pass after which a table is larger than this share of what it was has achieved nothing."""
PATIENCE_SECONDS = 30.0
"""How long transactions that began before may hold old row versions, until we give up."""
LOCK_TIMEOUT = "10s"
REFUSED = ("55P03", "40P01", "57014")
"""lock_not_available, deadlock_detected, query_canceled: somebody else was in the way."""
BUSY = "Another process is returning space already, such as a worker once a day. Run `bridge db compact` later for what is left."
POOLED = (
    "Tables were not compacted: DATABASE_URL goes through a pooler, and compaction needs a session of its own."
    " Run `bridge db compact` with a DATABASE_URL that connects to PostgreSQL directly."
)
TOO_OLD = "Tables were not compacted: that needs PostgreSQL 14 or newer."
HELD = "Removed rows are still visible to {who}: their space cannot be returned yet. Run `bridge db compact` once that has ended."
LOCKED = "{what}: a lock was not available within {timeout}. Run `bridge db compact` again later."
LARGE = "The index {name} ({mb:,.0f} MB) takes more than twice what it needs. Run `bridge db compact` to rebuild it."
LEFT = "About {mb:,.0f} MB of the table {table} could not be returned. Run `bridge db compact` again later."
LARGEST_DAILY_INDEX = 1024**3

_LEFTOVERS = """
SELECT quote_ident(x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
WHERE NOT i.indisvalid AND x.relname ~ '_cc(new|old)[0-9]*$'
  AND i.indrelid = ANY (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
"""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Released:
    """freed_bytes: what the file system got. notes: sentences on what is left to be returned, and what to do."""

    freed_bytes: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What could be returned of a table's rows and values, or of an index."""

    name: str
    total_bytes: int
    free_bytes: int


def compact_tables(
    ledger: Ledger, pace: Pace, seconds: float | None, tables: Sequence[str], progress: Progress
) -> Released:
    """Vacuums `tables`, then shrinks every table and index of the ledger where that is worth it.

    seconds: after so long nothing new is begun, and large indexes are only named. Raises LedgerUnavailable.
    """
    with _session(ledger) as connection:
        before = _size(connection)
        for table in tables:
            if not pace.is_stopping():
                # Where a session has a lock_timeout, an autovacuum of that table gives way within a second.
                _vacuum(connection, table, "SKIP_LOCKED" if ledger.is_pooled else "TRUNCATE ON")
        unfit = _why_unfit(ledger, connection)
        if unfit is not None:
            is_worth = any(extent.free_bytes for extent in _measured(connection))
            return Released(max(0, before - _size(connection)), (unfit,) if is_worth else ())
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK})").scalar_one():
            return Released(notes=(BUSY,))
        over_at = None if seconds is None else time.monotonic() + seconds
        notes = _Compaction(ledger, connection, pace, over_at, progress).run()
        connection.exec_driver_sql(
            f"SELECT pg_advisory_unlock({LOCK})"
        )  # a closed session holds it for a moment longer
        return Released(max(0, before - _size(connection)), tuple(notes))


def estimate_tables(ledger: Ledger) -> list[Estimate]:
    """What compact_tables would return, what is largest first. Changes nothing."""
    with _session(ledger) as connection:
        found = [Estimate(e.table, e.total_bytes, e.free_bytes) for e in _measured(connection)]
        found += [Estimate(f"index {i.name}", i.size, i.free_bytes) for i in swollen_indexes(connection)]
        return sorted((e for e in found if e.free_bytes), key=lambda e: -e.free_bytes)


class _GaveUp(Exception):
    """Somebody else prevents that space is returned; the text says who, and what to do."""


@dataclass(frozen=True, slots=True)
class _Compaction:
    ledger: Ledger
    connection: Connection
    pace: Pace
    over_at: float | None
    progress: Progress

    def run(self) -> list[str]:
        """Returns notes on what could not be returned."""
        notes = self._drop_leftovers()
        try:
            sparse = [extent for extent in _measured(self.connection) if extent.free_bytes]
            if sparse:
                self._wait_for_readers()
            for extent in sparse:
                if not self._is_over():
                    notes += self._shrink(extent)
        except _GaveUp as reason:
            return [*notes, str(reason)]
        return notes + self._rebuild_indexes()

    def _shrink(self, began: Extent) -> list[str]:
        table = began.table
        moving = Moving(self.ledger, table, columns_of(self.connection, table), self.pace, self._is_over)
        extent = self._cut(began)  # also so that all free room is known
        if moving.has_ids:
            extent = self._move_values(moving, extent)
        extent = self._move_rows(moving, extent)
        self.progress(f"{table}: {began.total_bytes / 1e6:,.1f} MB before, {extent.total_bytes / 1e6:,.1f} MB now")
        is_left = extent.free_bytes and not self._is_over()
        return [LEFT.format(mb=extent.free_bytes / 1e6, table=table)] if is_left else []

    def _move_rows(self, moving: Moving, extent: Extent) -> Extent:
        """Half of the way at a time: each VACUUM makes PostgreSQL look for free room from the beginning again, so that what others
        insert meanwhile does not end up behind the rows that moved."""
        stalled = 0
        while extent.is_sparse and stalled < PASSES and not self._is_over():
            before = extent.pages
            lowest = before - max((before - extent.needed) // 2, min(LEAST_PAGES, before - extent.needed))
            moving.rows(before, lowest)
            extent = self._cut(extent)
            stalled += extent.pages > before * LEAST_PROGRESS
        return extent

    def _move_values(self, moving: Moving, extent: Extent) -> Extent:
        """Which values lie at the end is not known, so all of them are stored again, the newest first, until enough was cut off."""
        for _ in range(PASSES):
            began = extent.toast_pages
            before: int | None = LARGEST_ID
            while before and extent.is_toast_sparse and extent.toast_pages <= began and not self._is_over():
                room = (extent.toast_pages - extent.toast_needed) * extent.page_bytes
                before = moving.values(before, int(room * (1 - SHARE_WORTH)))
                extent = self._cut(extent)
            if extent.toast_pages > began * LEAST_PROGRESS:
                break
        return extent

    def _cut(self, extent: Extent) -> Extent:
        """Cuts off empty pages at the end of a table. Returns what it takes then. Raises _GaveUp."""
        if self.pace.is_stopping():
            return extent
        self._wait_for_readers()
        if not _vacuum(self.connection, extent.table, "INDEX_CLEANUP ON", "TRUNCATE ON", "ANALYZE"):
            raise _GaveUp(LOCKED.format(what=f"The table {extent.table} was not vacuumed", timeout=LOCK_TIMEOUT))
        (now,) = extents(self.connection, [extent.table])
        return replace(now, needed=extent.needed, toast_needed=extent.toast_needed)

    def _rebuild_indexes(self) -> list[str]:
        notes = []
        for index in swollen_indexes(self.connection):
            if self._is_over():
                break
            if self.over_at is not None and index.size > LARGEST_DAILY_INDEX:
                notes.append(LARGE.format(name=index.name, mb=index.size / 1e6))
            elif not self._rebuild(index):
                notes += [
                    LOCKED.format(what=f"The index {index.name} was not rebuilt", timeout=LOCK_TIMEOUT),
                    *self._drop_leftovers(),
                ]
                break  # the process that holds it also holds back the others
        return notes

    def _rebuild(self, index: Index) -> bool:
        self.progress(f"rebuilding the index {index.name} ({index.size / 1e6:,.1f} MB)")
        return _unless_refused(self.connection, f'REINDEX INDEX CONCURRENTLY "{index.name}"')

    def _drop_leftovers(self) -> list[str]:
        """Drops what an interrupted REINDEX CONCURRENTLY left behind, which every writer keeps up to date."""
        names = self.connection.exec_driver_sql(_LEFTOVERS, (list(metadata.tables),)).scalars().all()
        refused = [name for name in names if not _unless_refused(self.connection, f"DROP INDEX CONCURRENTLY {name}")]
        return [
            LOCKED.format(what=f"The unfinished index {name} was not removed", timeout=LOCK_TIMEOUT) for name in refused
        ]

    def _wait_for_readers(self) -> None:
        """Waits until no transaction reads what was replaced before now. Raises _GaveUp after PATIENCE_SECONDS."""
        mark, until = horizon(self.connection), time.monotonic() + PATIENCE_SECONDS
        while (who := holder(self.connection, mark)) is not None and not self.pace.is_stopping():
            if time.monotonic() > until:
                raise _GaveUp(HELD.format(who=who))
            time.sleep(0.1)

    def _is_over(self) -> bool:
        return self.pace.is_stopping() or (self.over_at is not None and time.monotonic() > self.over_at)


@contextmanager
def _session(ledger: Ledger) -> Iterator[Connection]:
    """A session for statements that take long and wait for no lock for long.

    Through a pooler it keeps the server's own limits: what is set there would reach other clients.
    """
    with ledger.autocommit() as connection:
        Tx(connection, is_sqlite=False, clock=time.time).set_deadline(None)
        if not ledger.is_pooled:
            settings: dict[str, Any] = {
                "statement_timeout": 0,
                "lock_timeout": LOCK_TIMEOUT,
                "vacuum_cost_delay": "2ms",
            }
            for name, value in settings.items():
                connection.exec_driver_sql(f"SET {name} = '{value}'")
        yield connection


def _why_unfit(ledger: Ledger, connection: Connection) -> str | None:
    """Why tables cannot be compacted through this connection."""
    if ledger.is_pooled:
        return POOLED
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    return TOO_OLD if version < LEAST_VERSION else None  # it would read the whole table to find the rows of a page


def _measured(connection: Connection) -> list[Extent]:
    return [measured(connection, extent) for extent in extents(connection)]


def _size(connection: Connection) -> int:
    return sum(extent.total_bytes for extent in extents(connection))


def _vacuum(connection: Connection, table: str, *options: str) -> bool:
    return _unless_refused(connection, f"VACUUM ({', '.join(options)}) {table}")


def _unless_refused(connection: Connection, statement: str) -> bool:
    """Executes `statement`. Returns False where a lock that it needs was not available."""
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if sqlstate(error) not in REFUSED:
            raise
        return False
    return True
