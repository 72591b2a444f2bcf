"""Statements for many rows at once, as each database takes them fastest. Statements only; the ledger executes them.

What counts is how often the driver gives up the interpreter's lock, since each time the writer has to wait for it again among
all the threads of the web, and what the driver does per value. So PostgreSQL gets all tables of a group in one statement, each
table's rows as one JSON text (measured: a fifth of the time of a pipeline of single rows), and SQLite one statement a table.
Bodies are not in that text, which PostgreSQL reads twice: they come joined, as they are, and each row says where its own lies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import BigInteger, Integer, LargeBinary, Table

MOST_ROWS = 32
"""In one statement of SQLite's. Each size is a statement of its own, and they all stay prepared (PREPARED)."""
PREPARED = 512
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


@cache
def values_insert(table: Table, columns: tuple[str, ...], count: int, unless_there: bool) -> str:
    """For SQLite: takes the values of `count` rows, one after the other."""
    row = f"({', '.join(['?'] * len(columns))})"
    rest = " ON CONFLICT DO NOTHING" if unless_there else ""
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {', '.join([row] * count)}{rest}"


@cache
def json_insert(parts: tuple[tuple[Table, tuple[str, ...], bool], ...]) -> str:
    """For PostgreSQL: takes the json_values of each of `parts` (table, columns, unless_there), and inserts them in that order."""
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
    """`rows`, in which there are no bytes, as an array of objects."""
    return to_json(rows).decode()


@cache
def binary_columns(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `columns` that hold bytes."""
    return tuple(name for name in columns if isinstance(table.columns[name].type, LargeBinary))


@cache
def with_values(statement: str, columns: tuple[tuple[str, str], ...], count: int) -> str:
    """For SQLite: `statement` reads from a table `given` (columns with their types), which takes the values of `count` rows."""
    row = f"({', '.join(['?'] * len(columns))})"
    return f"WITH given({', '.join(name for name, _ in columns)}) AS (VALUES {', '.join([row] * count)}) {statement}"


@cache
def with_json(statement: str, columns: tuple[tuple[str, str], ...]) -> str:
    """For PostgreSQL: the same, and takes json_rows."""
    typed = ", ".join(f"{name} {kind}" for name, kind in columns)
    return f"WITH given AS (SELECT * FROM json_to_recordset(?::json) AS g({typed})) {statement}"


@cache
def update_by_id(table: Table, columns: tuple[str, ...]) -> str:
    """Takes the values of `columns`, of which "id" is the first, with the id last."""
    changes = ", ".join(f"{name} = ?" for name in columns[1:])
    return f"UPDATE {table.name} SET {changes} WHERE id = ?"


def array(values: Sequence[str] | Sequence[int]) -> str:
    """PostgreSQL's text for an array of `values`: psycopg takes ten times as long over a list."""
    quoted = [
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)
        for value in values
    ]
    return f"{{{','.join(quoted)}}}"


def _from_json(table: Table, columns: tuple[str, ...], unless_there: bool) -> str:
    binary = binary_columns(table, columns)
    # What holds bytes comes first, as its parameters do.
    named = [*binary, *(name for name in columns if name not in binary)]
    values = [f"substring(%b::bytea FROM {name} FOR {name}{SIZE})" if name in binary else name for name in named]
    types = {name: _type(table, name) for name in columns} | {name + SIZE: "integer" for name in binary}
    given = ", ".join(f"{name} {kind}" for name, kind in types.items())
    rest = " ON CONFLICT DO NOTHING" if unless_there else ""
    return (
        f"INSERT INTO {table.name} ({', '.join(named)}) SELECT {', '.join(values)}"
        f" FROM json_to_recordset(%s::json) AS given({given}){rest}"
    )


def _type(table: Table, name: str) -> str:
    """Of what the JSON text holds; of bytes, that is where they begin."""
    kind = table.columns[name].type
    if isinstance(kind, BigInteger):
        return "bigint"
    return "integer" if isinstance(kind, Integer | LargeBinary) else "text"
