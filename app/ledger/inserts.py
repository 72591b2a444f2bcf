"""Statements for many rows at once, in the form that each database executes fastest. The ledger executes them.

Two costs matter: how often the driver releases the interpreter's lock, because the writer then competes for it with all
threads of the web, and the driver's work per value. So PostgreSQL gets all tables of a group in one statement, each table's
rows as one JSON text (measured: a fifth of the time of a pipeline of single rows), and SQLite gets one statement per table.
PostgreSQL reads that text twice, so bodies are sent apart from it, concatenated, and each row holds the offset of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic_core import to_json
from sqlalchemy import BigInteger, Integer, LargeBinary, Table

T = TypeVar("T")
SIZES = (32, 8)
"""Rows in one statement of SQLite's, or fewer than the least. Each size is a statement of its own, which stays prepared (PREPARED)
and keeps the values of its last use: with any size up to 32, the statements of eight tables took 8 MB."""
PREPARED = 256
SIZE = "_size"
"""Behind the name of a column of bytes: how many there are."""


Row = Mapping[str, Any]
"""A row by the names of its columns. All rows of one batch have the same columns, in the same order."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for one table. unless_there: a row whose key exists is left out."""

    table: Table
    rows: Sequence[Row]
    unless_there: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.rows[0])


def parts_of(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """For SQLite: `rows` in order, in parts of few different sizes."""
    start = 0
    while left := len(rows) - start:
        size = next((size for size in SIZES if size <= left), left)
        yield rows[start : start + size]
        start += size


@cache
def values_insert(table: Table, columns: tuple[str, ...], count: int, unless_there: bool) -> str:
    """For SQLite: an INSERT with placeholders for `count` rows, row by row."""
    row = f"({', '.join(['?'] * len(columns))})"
    rest = " ON CONFLICT DO NOTHING" if unless_there else ""
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {', '.join([row] * count)}{rest}"


@cache
def json_insert(parts: tuple[tuple[Table, tuple[str, ...], bool], ...]) -> str:
    """For PostgreSQL: inserts `parts` (table, columns, unless_there) in that order. Its parameters are the json_values of each."""
    *first, last = [_from_json(*part) for part in parts]
    ahead = ", ".join(f"part{number} AS ({statement})" for number, statement in enumerate(first))
    return f"WITH {ahead} {last}" if ahead else last


def json_values(batch: Rows) -> list[str | bytes]:
    """The parameters of a batch: its bytes, joined, for each column that holds bytes; then its rows as a JSON array."""
    columns = binary_columns(batch.table, batch.columns)
    if not columns:
        return [json_rows(batch.rows)]
    rows, joined = [dict(row) for row in batch.rows], list[str | bytes]()
    for name in columns:
        values, start = [row[name] for row in rows], 1
        for row, value in zip(rows, values, strict=True):
            size = None if value is None else len(value)
            row[name], row[name + SIZE] = start, size
            start += size or 0
        joined.append(b"".join(value for value in values if value is not None))
    return [*joined, json_rows(rows)]


def json_rows(rows: Sequence[Row]) -> str:
    """`rows` as a JSON array of objects. They must not hold bytes."""
    return to_json(rows).decode()


@cache
def binary_columns(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `columns` that hold bytes."""
    return tuple(name for name in columns if isinstance(table.columns[name].type, LargeBinary))


@cache
def with_values(statement: str, columns: tuple[tuple[str, str], ...], count: int) -> str:
    """For SQLite: `statement` with a table `given` (columns and types) whose placeholders take the values of `count` rows."""
    row = f"({', '.join(['?'] * len(columns))})"
    return f"WITH given({', '.join(name for name, _ in columns)}) AS (VALUES {', '.join([row] * count)}) {statement}"


@cache
def with_json(statement: str, columns: tuple[tuple[str, str], ...]) -> str:
    """For PostgreSQL: the same, with json_rows as its parameter."""
    typed = ", ".join(f"{name} {kind}" for name, kind in columns)
    return f"WITH given AS (SELECT * FROM json_to_recordset(?::json) AS g({typed})) {statement}"


@cache
def update_by_id(table: Table, columns: tuple[str, ...]) -> str:
    """Takes the values of `columns`, of which "id" is the first, with the id last."""
    changes = ", ".join(f"{name} = ?" for name in columns[1:])
    return f"UPDATE {table.name} SET {changes} WHERE id = ?"


def array(values: Sequence[str] | Sequence[int]) -> str:
    """PostgreSQL's text for an array of `values`. psycopg takes ten times as long to adapt a list."""
    quoted = [
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)
        for value in values
    ]
    return f"{{{','.join(quoted)}}}"


def _from_json(table: Table, columns: tuple[str, ...], unless_there: bool) -> str:
    binary = binary_columns(table, columns)
    # Columns of bytes come first, in the order of their parameters.
    named = [*binary, *(name for name in columns if name not in binary)]
    values = [f"substring(%b::bytea FROM {name} FOR {name}{SIZE})" if name in binary else name for name in named]
    types = {name: _type(table, name) for name in columns} | {name + SIZE: "integer" for name in binary}
    columns_and_types = ", ".join(f"{name} {kind}" for name, kind in types.items())
    rest = " ON CONFLICT DO NOTHING" if unless_there else ""
    return (
        f"INSERT INTO {table.name} ({', '.join(named)}) SELECT {', '.join(values)}"
        f" FROM json_to_recordset(%s::json) AS given({columns_and_types}){rest}"
    )


def _type(table: Table, name: str) -> str:
    """The type of a column in the JSON text, which holds the offset of bytes instead of the bytes."""
    kind = table.columns[name].type
    if isinstance(kind, BigInteger):
        return "bigint"
    return "integer" if isinstance(kind, Integer | LargeBinary) else "text"
