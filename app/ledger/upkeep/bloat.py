"""How much room a PostgreSQL ledger takes, how much of it its rows need, and what keeps old row versions from being removed.

Read from catalogs and a sample of pages, so neither an extension nor a superuser is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from app.ledger.tables import metadata

SHARE_WORTH = 0.2
LEAST_BYTES = 16 * 1024 * 1024
"""Less than this share of a file, or fewer bytes, is left for new rows."""
LEAST_INDEX_BYTES = LEAST_BYTES // 4
SWOLLEN = 1.6
"""An index that takes this many times what its entries need is rebuilt. Random inserts alone leave it at 1.3."""
FILL = 0.9
"""How full pages are expected to get."""
SAMPLED_PAGES = 2000
PAGE_HEADER, TUPLE_HEADER, INDEX_ENTRY = 24, 36, 12
WIDE = 2000
"""Bytes of a row above which PostgreSQL moves its widest value out of line (TOAST_TUPLE_THRESHOLD)."""
CHUNK, CHUNK_HEADER, POINTER = 1996, 48, 18

_SIZES = """
SELECT c.relname, current_setting('block_size')::int, pg_relation_size(c.oid),
       coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0), pg_total_relation_size(c.oid)
FROM pg_class c WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name) ORDER BY 1
"""
_COLUMNS = """
SELECT quote_ident(attname), format_type(atttypid, NULL), attstorage IN ('x', 'e') FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_INDEXES = """
SELECT x.relname, t.relname, pg_relation_size(x.oid),
       greatest(x.reltuples, 0) * (%s + 8 * ceil(sum(coalesce(s.avg_width, nullif(a.attlen, -1), 32)) / 8.0)) / %s
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname
WHERE t.oid = ANY (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
  AND i.indisvalid AND i.indexprs IS NULL AND x.reltuples >= 0
GROUP BY x.oid, x.relname, t.relname, x.reltuples ORDER BY 3
"""
_HOLDERS = """
SELECT who FROM (
    SELECT backend_type = 'autovacuum worker' AS is_brief, greatest(age(backend_xmin), age(backend_xid)) AS age,
           format('process %%s (%%s, transaction open for %%s s)', pid, coalesce(nullif(application_name, ''), backend_type),
                  greatest(0, round(extract(epoch FROM clock_timestamp() - xact_start)))) AS who
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query NOT LIKE 'autovacuum: VACUUM%%'
    UNION ALL
    SELECT false, age(transaction), format('the prepared transaction %%s', gid)
    FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL
    SELECT false, age(xmin), format('the replication slot %%s', slot_name) FROM pg_replication_slots
    UNION ALL
    SELECT false, age(backend_xmin), format('the replica %%s', coalesce(nullif(application_name, ''), pid::text))
    FROM pg_stat_replication
) held WHERE age >= age(%s::xid) ORDER BY is_brief, age DESC LIMIT 1
"""


class Column(NamedTuple):
    name: str
    type: str
    is_wide: bool
    """Whether its values may be stored out of line."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Pages that a table and its out-of-line values take, and pages that they need."""

    table: str
    page_bytes: int
    pages: int
    toast_pages: int
    total_bytes: int
    needed: int = 0
    toast_needed: int = 0

    @property
    def is_sparse(self) -> bool:
        """Whether its rows should move together."""
        return self._is_worth(self.pages - self.needed, self.pages)

    @property
    def is_toast_sparse(self) -> bool:
        return self._is_worth(self.toast_pages - self.toast_needed, self.toast_pages)

    @property
    def free_bytes(self) -> int:
        """What moving its rows would return."""
        free = (self.pages - self.needed) * self.is_sparse + (
            self.toast_pages - self.toast_needed
        ) * self.is_toast_sparse
        return free * self.page_bytes

    def _is_worth(self, free: int, pages: int) -> bool:
        return free >= pages * SHARE_WORTH and free * self.page_bytes >= LEAST_BYTES


@dataclass(frozen=True, slots=True)
class Index:
    """An index, and how many bytes its entries need."""

    name: str
    table: str
    size: int
    needed: int

    @property
    def free_bytes(self) -> int:
        """What rebuilding it would return; 0 where that is not worth it."""
        free = self.size - self.needed
        return free if self.size > self.needed * SWOLLEN and free >= LEAST_INDEX_BYTES else 0


def extents(connection: Connection, tables: Sequence[str] = ()) -> list[Extent]:
    """What the tables take; all of the ledger's by default. What they need is not known yet: see measured()."""
    rows = connection.exec_driver_sql(_SIZES, (list(tables or metadata.tables),))
    return [Extent(name, page, size // page, toast // page, total) for name, page, size, toast, total in rows]


def measured(connection: Connection, extent: Extent) -> Extent:
    """The extent with the pages that its rows need, from a sample of the table's pages."""
    page = extent.page_bytes
    if max(extent.pages, extent.toast_pages) * page < LEAST_BYTES:
        return replace(extent, needed=extent.pages, toast_needed=extent.toast_pages)
    columns = columns_of(connection, extent.table)
    percent = min(100.0, 100.0 * SAMPLED_PAGES / max(1, extent.pages))
    widest = f"greatest(0, {', '.join(_size(c) for c in columns if c.is_wide) or '0'})"
    statement = f"""
        SELECT coalesce(sum({TUPLE_HEADER} + total - CASE WHEN outside > 0 THEN outside - {POINTER} ELSE 0 END), 0),
               coalesce(sum(outside + ceil(outside / {CHUNK}.0) * {CHUNK_HEADER}), 0)
        FROM (
            SELECT total, CASE WHEN total > {WIDE} THEN widest ELSE 0 END AS outside
            FROM (SELECT {total_size(columns)} AS total, {widest} AS widest FROM {extent.table} TABLESAMPLE SYSTEM ({percent})) s
        ) sampled
    """
    rows, toast = connection.exec_driver_sql(statement).one()
    room = (page - PAGE_HEADER) * FILL * percent / 100
    return replace(
        extent,
        needed=min(extent.pages, int(float(rows) / room) + 1),
        toast_needed=min(extent.toast_pages, int(float(toast) / room) + 1),
    )


def columns_of(connection: Connection, table: str) -> list[Column]:
    return [Column(*row) for row in connection.exec_driver_sql(_COLUMNS, (table,))]


def total_size(columns: Sequence[Column]) -> str:
    """SQL for the bytes of a row as stored, compressed values as they are."""
    return " + ".join(_size(column) for column in columns)


def swollen_indexes(connection: Connection) -> list[Index]:
    """Indexes that are worth rebuilding, the smallest first. Valid once the tables were analyzed."""
    rows: Any = connection.exec_driver_sql(_INDEXES, (INDEX_ENTRY, FILL, list(metadata.tables)))
    found = [Index(name, table, size, int(needed)) for name, table, size, needed in rows]
    return [index for index in found if index.free_bytes]


def horizon(connection: Connection) -> str:
    """A mark in time for holder(): a transaction of its own."""
    return str(connection.exec_driver_sql("SELECT pg_current_xact_id()::xid::text").scalar_one())


def holder(connection: Connection, mark: str) -> str | None:
    """Who began before `mark` and may still read what was replaced since: no VACUUM removes that."""
    found: str | None = connection.exec_driver_sql(_HOLDERS, (mark,)).scalar()
    return found


def _size(column: Column) -> str:
    return f"coalesce(pg_column_size({column.name}), 0)"
