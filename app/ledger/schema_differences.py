"""Compares the tables of a database with those that the code declares. Only a difference that would make a statement fail,
or let a duplicate in, counts. Additional tables, nullable columns and indexes do not."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, UniqueConstraint
from sqlalchemy.types import TypeEngine

from app.ledger.tables import metadata
from app.ledger.transaction import Tx

_COLUMNS = {
    True: """
        SELECT m.name, c.name, c.type, c."notnull", c.dflt_value IS NOT NULL, c.dflt_value IS NOT NULL
        FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'
    """,
    False: """
        SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull, c.atthasdef,
          c.atthasdef OR c.attidentity <> ''
        FROM pg_attribute AS c JOIN pg_class AS t ON t.oid = c.attrelid JOIN pg_namespace AS s ON s.oid = t.relnamespace
        WHERE s.nspname = current_schema() AND t.relkind IN ('r', 'p') AND c.attnum > 0 AND NOT c.attisdropped
    """,
}
"""Of each column: its table, name and type, whether it must not be NULL, has a default, and gets a value by itself.
True: those of SQLite."""
_UNIQUE = {
    True: """
        SELECT m.name, i.name, c.name FROM sqlite_master AS m, pragma_index_list(m.name) AS i, pragma_index_info(i.name) AS c
        WHERE m.type = 'table' AND i."unique"
        UNION ALL SELECT m.name, '', c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table' AND c.pk
    """,
    False: """
        SELECT t.relname, i.indexrelid, c.attname
        FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS s ON s.oid = t.relnamespace
        CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k
        LEFT JOIN pg_attribute AS c ON c.attrelid = i.indrelid AND c.attnum = i.indkey[k] AND c.attnum > 0
        WHERE i.indisunique AND s.nspname = current_schema()
    """,
}
"""Of each column in a unique index or a primary key: its table, the index, and its name, which an expression does not have."""


class _Actual(NamedTuple):
    """A column of the database."""

    type: str
    is_required: bool
    has_default: bool
    fills_itself: bool


def differences(tx: Tx) -> list[str]:
    """Differences, such as "deliveries.dead_at is missing"; [] if there are none."""
    columns: dict[str, dict[str, _Actual]] = {}
    for table, name, kind, *rest in tx.run(_COLUMNS[tx.is_sqlite]):
        columns.setdefault(table, {})[name] = _Actual(kind.upper(), *map(bool, rest))
    indexes: dict[tuple[str, Any], set[str | None]] = {}
    for table, index, name in tx.run(_UNIQUE[tx.is_sqlite]):
        indexes.setdefault((table, index), set()).add(name)
    unique = {(table, frozenset(names)) for (table, _index), names in indexes.items()}
    problems: list[str] = []
    for name in sorted(metadata.tables):
        declared = metadata.tables[name]
        if name not in columns:
            problems.append(f"table {name} is missing")
            continue
        problems += _column_differences(declared, columns[name], tx.is_sqlite)
        for key_columns in _unique_keys(declared):
            if (name, frozenset(key_columns)) not in unique:
                problems.append(f"{name} ({', '.join(key_columns)}) is not unique")
    return problems


def _column_differences(table: Table, actual: dict[str, _Actual], is_sqlite: bool) -> Iterator[str]:
    for column in table.columns:
        name = f"{table.name}.{column.name}"
        found = actual.get(column.name)
        if found is None:
            yield f"{name} is missing"
            continue
        if not _holds(column.type, found.type, is_sqlite):
            yield f"{name} is {found.type}"
        if column.nullable and found.is_required and not found.has_default:
            yield f"{name} must not be NULL"
    for extra in sorted(actual.keys() - {column.name for column in table.columns}):
        if actual[extra].is_required and not actual[extra].fills_itself:
            yield f"{table.name}.{extra} must not be NULL, and this version does not know it"


def _holds(declared: TypeEngine[Any], actual: str, is_sqlite: bool) -> bool:
    """Whether a column of type `actual`, in capitals, can hold every value of a `declared` one."""
    if isinstance(declared, LargeBinary):
        return "BLOB" in actual or actual == "BYTEA"
    if isinstance(declared, Integer):
        if is_sqlite:
            return "INT" in actual
        return actual == "BIGINT" or (actual in ("INTEGER", "SMALLINT") and not isinstance(declared, BigInteger))
    return any(word in actual for word in ("TEXT", "CHAR", "CLOB"))


def _unique_keys(table: Table) -> Iterator[list[str]]:
    yield [column.name for column in table.primary_key.columns]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield [_name(column) for column in constraint.columns]
    for index in table.indexes:
        if index.unique:
            yield [_name(column) for column in index.columns]


def _name(column: "Column[Any]") -> str:
    return column.name
