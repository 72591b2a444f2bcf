"""Compares the tables of a database with those that the code declares: only what would make a statement fail, or let a
duplicate in, is a difference. Tables, nullable columns and indexes that somebody added are not."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, UniqueConstraint, inspect
from sqlalchemy.types import TypeEngine

from app.ledger.tables import metadata
from app.ledger.transaction import Tx


def differences(tx: Tx) -> list[str]:
    """What is missing or different, such as "deliveries.dead_at is missing"; [] where nothing is."""
    inspector = inspect(tx.connection)
    names = [table.name for table in metadata.sorted_tables]
    columns = _by_table(inspector.get_multi_columns(filter_names=names))
    keys = _by_table(inspector.get_multi_pk_constraint(filter_names=names))
    uniques = _by_table(inspector.get_multi_unique_constraints(filter_names=names))
    indexes = _by_table(inspector.get_multi_indexes(filter_names=names))
    found: list[str] = []
    for name in sorted(names):
        table = metadata.tables[name]
        if not columns.get(name):
            found.append(f"table {name} is missing")
            continue
        is_sqlite = tx.is_sqlite
        found += _column_differences(table, {c["name"]: c for c in columns[name]}, is_sqlite)
        unique = {frozenset(keys[name]["constrained_columns"])} if keys.get(name) else set()
        unique |= {frozenset(one["column_names"]) for one in uniques.get(name) or ()}
        unique |= {frozenset(one["column_names"]) for one in indexes.get(name) or () if one["unique"]}
        for wanted in _unique_keys(table):
            if frozenset(wanted) not in unique:
                found.append(f"{name} ({', '.join(wanted)}) is not unique")
    return found


def _by_table(reflected: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: value for (_schema, name), value in reflected.items()}


def _column_differences(table: Table, there: dict[str, Any], is_sqlite: bool) -> Iterator[str]:
    for column in table.columns:
        name = f"{table.name}.{column.name}"
        found = there.get(column.name)
        if found is None:
            yield f"{name} is missing"
            continue
        if not _holds(column.type, found["type"], is_sqlite):
            yield f"{name} is {found['type']}"
        if column.nullable and not found["nullable"] and found.get("default") is None:
            yield f"{name} must not be NULL"
    for extra in sorted(there.keys() - {column.name for column in table.columns}):
        found = there[extra]
        if not found["nullable"] and found.get("default") is None and not found.get("identity"):
            yield f"{table.name}.{extra} must not be NULL, and this version does not know it"


def _holds(declared: TypeEngine[Any], found: TypeEngine[Any], is_sqlite: bool) -> bool:
    """Whether a column of type `found` takes every value of a `declared` one."""
    if isinstance(declared, LargeBinary):
        return "BLOB" in str(found).upper() or "BYTEA" in str(found).upper()
    if isinstance(declared, Integer):
        wide = not isinstance(declared, BigInteger) or is_sqlite
        return isinstance(found, Integer) and (wide or isinstance(found, BigInteger))
    return found.python_type is str


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
