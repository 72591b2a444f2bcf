"""Statements for many rows at once, as each database takes them fastest. Statements only; the ledger executes them.

What counts is how often the driver gives up the interpreter's lock, since each time the writer has to wait for it again among
all the threads of the web, and what the driver does per value. So PostgreSQL gets all tables of a group in one statement, each
table's rows as one JSON text (measured: a fifth of the time of a pipeline of single rows), and SQLite one statement a table.
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
    """For PostgreSQL: takes the json_rows of each of `parts` (table, columns, unless_there), and inserts them in that order."""
    *first, last = [_from_json(*part) for part in parts]
    ahead = ", ".join(f"part{number} AS ({statement})" for number, statement in enumerate(first))
    return f"WITH {ahead} {last}" if ahead else last


def json_rows(rows: Sequence[Row]) -> str:
    """`rows` as an array of objects; bytes in PostgreSQL's hexadecimal form."""
    plain = [
        {name: rf"\x{value.hex()}" if type(value) is bytes else value for name, value in row.items()} for row in rows
    ]
    return to_json(plain).decode()


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
    named = ", ".join(columns)
    typed = ", ".join(f"{name} {_type(table, name)}" for name in columns)
    rest = " ON CONFLICT DO NOTHING" if unless_there else ""
    return f"INSERT INTO {table.name} ({named}) SELECT {named} FROM json_to_recordset(%s::json) AS given({typed}){rest}"


def _type(table: Table, name: str) -> str:
    kind = table.columns[name].type
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Integer):
        return "integer"
    return "bytea" if isinstance(kind, LargeBinary) else "text"
