"""Copies a whole ledger into an empty one, of the same kind of database or the other, in one transaction on either side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Select, Table, func, insert, inspect, select

from app.errors import LedgerError, LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.migrations.online import REVISIONS
from app.ledger.schema import check_schema, current_revision, is_newer, upgrade, without_time_limit
from app.ledger.tables import metadata
from app.ledger.transaction import Tx

CHUNK = 2000
IDS = "ids"
OWN_ROWS = frozenset({"counters", "workers", "destinations"})
"""Tables into which a bridge that was only started writes."""
Progress = Callable[[str, int, int], None]
"""Called with a table's name, how many of its rows were copied, and how many there are."""


class NotEmpty(LedgerError):
    """The target holds something already."""


class CopyFailed(LedgerError):
    """The counts of the two differ, or one of them cannot be used; nothing was copied."""


def copy_ledger(
    source: Ledger,
    target: Ledger,
    progress: Progress = lambda _table, _done, _total: None,
    finish: Callable[[Tx], None] = lambda _tx: None,
    ignored: frozenset[str] = OWN_ROWS,
) -> dict[str, int]:
    """Copies all rows of `source`, as they are at one moment, and returns their counts by table.

    finish: runs at the end of the target's transaction. ignored: see check_empty; rows of these tables are replaced. Raises
    NotEmpty before anything is changed; CopyFailed; SchemaOutdated. Whatever it raises, no row is copied.
    """
    check_schema(source)
    if is_newer(current_revision(source)):
        raise LedgerError("the ledger was upgraded by a newer version: use that one, which knows all its tables")
    with _named("the target cannot be used"):
        check_empty(target, ignored)
        upgrade(target)
    with (
        _named("nothing was copied"),
        source.raw() as sealed,
        sealed.snapshot() as reading,
        target.write() as writing,
    ):
        without_time_limit(reading)
        without_time_limit(writing)
        _empty(writing)
        counts = {}
        for table in tables_to_copy():
            counts[table.name] = _copy_table(reading, writing, table, progress)
        _take_over_ids(reading, writing)
        _end_work(writing)
        finish(writing)
    return counts


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Keeps a full disk of the target from being reported as one of the ledger."""
    try:
        yield
    except LedgerUnavailable as error:
        raise CopyFailed(f"{what}: {error.detail}") from error


def tables_to_copy() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name != REVISIONS]


def check_empty(target: Ledger, ignored: frozenset[str] = OWN_ROWS) -> None:
    """Raises NotEmpty if a table has rows, but for those of `ignored`, or where another program's tables are."""
    with target.read() as tx:
        present = set(inspect(tx.connection).get_table_names())
        if present and "alembic_version" not in present:
            named = ", ".join(sorted(present)[:3])
            raise NotEmpty(f"the target holds tables of another program ({named}): name an empty database")
        for table in sorted(tables_to_copy(), key=lambda table: table.name != "events"):
            if table.name in present - ignored and tx.run(f"SELECT 1 FROM {table.name} LIMIT 1").first():
                raise NotEmpty(f"the target is not empty: its table {table.name} has rows. Nothing was changed")


def _empty(tx: Tx) -> None:
    """Removes the rows that a bridge started on the target left: its workers, destinations and cursors."""
    for table in tables_to_copy():
        tx.connection.execute(table.delete())


def _copy_table(reading: Tx, writing: Tx, table: Table, progress: Progress) -> int:
    total = _count(reading, table)
    done = 0
    progress(table.name, 0, total)
    for rows in _chunks(reading, table):
        _write(writing, table, rows)
        done += len(rows)
        progress(table.name, done, total)
    arrived = _count(writing, table)
    if not arrived == done == total:
        raise CopyFailed(f"the table {table.name} has {total} rows, and {arrived} of them arrived: nothing was copied")
    return total


def _rows(table: Table) -> Select[Any]:
    """The rows of a table to copy, without the last ID given out, which only SQLite keeps there."""
    return select(table) if table.name != "counters" else select(table).where(table.c.name != IDS)


def _count(tx: Tx, table: Table) -> int:
    return int(tx.connection.execute(select(func.count()).select_from(_rows(table).subquery())).scalar_one())


def _chunks(tx: Tx, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """All rows of a table, some at a time, without holding all of them."""
    result = tx.connection.execution_options(stream_results=True, max_row_buffer=CHUNK).execute(_rows(table))
    for rows in result.partitions(CHUNK):
        yield [tuple(row) for row in rows]


def _write(tx: Tx, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    names = [column.name for column in table.columns]
    if tx.is_sqlite:
        marks = ", ".join("?" * len(names))
        tx.run_many(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", list(rows))
        return
    driver = tx.connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copying:
        for row in rows:
            copying.write_row([value.replace("\x00", "\ufffd") if isinstance(value, str) else value for value in row])


def _end_work(tx: Tx) -> None:
    """No worker of the source works here: the first sweep takes over what they were sending, before their claims run out."""
    now = tx.now()
    tx.run("UPDATE workers SET stopped_at = ? WHERE stopped_at IS NULL", now)
    tx.run("UPDATE deliveries SET claimed_until = ? WHERE claimed_until > ?", now, now)


def _take_over_ids(reading: Tx, writing: Tx) -> None:
    """New ids begin behind those that were given out. SQLite keeps the last one in `counters`, PostgreSQL in sequences."""
    if reading.is_sqlite:
        last = reading.run("SELECT value FROM counters WHERE name = ?", IDS).scalar() or 0
    else:
        last = reading.run("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM bridge_ids").scalar_one()
    for name in ("events", "conversions", "persons", "deliveries"):
        last = max(last, writing.run(f"SELECT COALESCE(MAX(id), 0) FROM {name}").scalar_one())
    if writing.is_sqlite:
        writing.connection.execute(insert(metadata.tables["counters"]), {"name": IDS, "value": last})
        return
    writing.run("SELECT setval('bridge_ids', ?, true)", max(last, 1))
    for table in tables_to_copy():
        if table.autoincrement_column is not None:
            largest = writing.run(f"SELECT MAX(id) FROM {table.name}").scalar()
            if largest is not None:
                writing.run(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), ?, true)", largest)
