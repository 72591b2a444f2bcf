"""Compares the tables of a database with those that the code declares. Only a difference that would make a statement fail,
or let a duplicate in, counts. Additional tables, nullable columns and indexes do not."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, UniqueConstraint, inspect
from sqlalchemy.types import TypeEngine

from app.ledger.tables import metadata
from app.ledger.transaction import Tx


def differences(tx: Tx) -> list[str]:
    """Differences, such as "deliveries.dead_at is missing"; [] if there are none."""
    inspector = inspect(tx.connection)
    names = [table.name for table in metadata.sorted_tables]
    columns = _by_table(inspector.get_multi_columns(filter_names=names))
    keys = _by_table(inspector.get_multi_pk_constraint(filter_names=names))
    uniques = _by_table(inspector.get_multi_unique_constraints(filter_names=names))
    indexes = _by_table(inspector.get_multi_indexes(filter_names=names))
    problems: list[str] = []
    for name in sorted(names):
        table = metadata.tables[name]
        if not columns.get(name):
            problems.append(f"table {name} is missing")
            continue
        is_sqlite = tx.is_sqlite
        problems += _column_differences(table, {c["name"]: c for c in columns[name]}, is_sqlite)
        unique = {frozenset(keys[name]["constrained_columns"])} if keys.get(name) else set()
        unique |= {frozenset(constraint["column_names"]) for constraint in uniques.get(name) or ()}
        unique |= {frozenset(index["column_names"]) for index in indexes.get(name) or () if index["unique"]}
        for key_columns in _unique_keys(table):
            if frozenset(key_columns) not in unique:
                problems.append(f"{name} ({', '.join(key_columns)}) is not unique")
    return problems


def _by_table(reflected: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: value for (_schema, name), value in reflected.items()}


def _column_differences(table: Table, actual: dict[str, Any], is_sqlite: bool) -> Iterator[str]:
    for column in table.columns:
        name = f"{table.name}.{column.name}"
        reflected = actual.get(column.name)
        if reflected is None:
            yield f"{name} is missing"
            continue
        if not _holds(column.type, reflected["type"], is_sqlite):
            yield f"{name} is {reflected['type']}"
        if column.nullable and not reflected["nullable"] and reflected.get("default") is None:
            yield f"{name} must not be NULL"
    for extra in sorted(actual.keys() - {column.name for column in table.columns}):
        reflected = actual[extra]
        if not reflected["nullable"] and reflected.get("default") is None and not reflected.get("identity"):
            yield f"{table.name}.{extra} must not be NULL, and this version does not know it"


def _holds(declared: TypeEngine[Any], actual: TypeEngine[Any], is_sqlite: bool) -> bool:
    """Whether a column of type `actual` can hold every value of a `declared` one."""
    if isinstance(declared, LargeBinary):
        return "BLOB" in str(actual).upper() or "BYTEA" in str(actual).upper()
    if isinstance(declared, Integer):
        wide = not isinstance(declared, BigInteger) or is_sqlite
        return isinstance(actual, Integer) and (wide or isinstance(actual, BigInteger))
    return actual.python_type is str


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
