"""Seals everything with the current key, including plain data and data of older keys, or unseals everything."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.sealing.cipher import MARK, MARK_BYTES, PLAIN, Cipher
from app.ledger.sealing.columns import SEALED, How, personal_changed
from app.ledger.sealing.keys import forget_keys, used_keys
from app.ledger.transaction import Tx

WINDOW = 500
"""Rows, or events or persons with their rows, that are read at once, each time in a short transaction."""

Progress = Callable[[str, int], None]
"""Called with a table and how many of its rows were written."""


def rotate(raw: Ledger, cipher: Cipher, *, off: bool, progress: Progress) -> int:
    """Rewrites everything that is not sealed with the current key, while the bridge runs. off: unseals everything; the bridge
    must be stopped.

    raw: the ledger without a cipher. Returns the number of rows written. Raises LedgerUnavailable if a key is missing; nothing
    is lost, and the next run continues from there.
    """
    with raw.read() as tx:
        before = used_keys(tx)
    total = 0
    for name in SEALED:
        done, after = 0, 0
        while True:
            written, last = raw.transact(partial(_window, table=name, cipher=cipher, after=after, off=off))
            done += written
            progress(name, done)
            if last is None:
                break
            after = last
        total += done
    # Another process may have begun to write with a new key meanwhile, so only keys known before are removed.
    kept = set() if off else {cipher.current}
    raw.transact(lambda tx: forget_keys(tx, kept | (used_keys(tx) - before)))
    return total


def _window(tx: Tx, table: str, cipher: Cipher, after: int, *, off: bool) -> tuple[int, int | None]:
    key = _key_of(table)
    walked = key[-1]
    ids = [
        int(row_id)
        for row_id in tx.run(
            f"SELECT DISTINCT {walked} FROM {table} WHERE {walked} > ? ORDER BY {walked} LIMIT {WINDOW}", after
        ).scalars()
    ]
    if not ids:
        return 0, None
    columns = sorted(SEALED[table])
    stale, marks = _stale(table, columns, cipher, off=off)
    rows = tx.run(
        f"SELECT {', '.join((*key, *columns))} FROM {table} WHERE {walked} >= ? AND {walked} <= ? AND ({stale}){tx.for_update}",
        ids[0],
        ids[-1],
        *marks,
    ).all()
    written = 0
    for row in rows:
        identity, values = tuple(row[: len(key)]), dict(zip(columns, row[len(key) :], strict=True))
        changed = {name: _again(cipher, SEALED[table][name], value, off=off) for name, value in values.items()}
        if changed != values:
            _rewrite(tx, table, dict(zip(key, identity, strict=True)), changed)
            written += 1
    return written, ids[-1]


def _stale(table: str, columns: list[str], cipher: Cipher, *, off: bool) -> tuple[str, list[str | bytes]]:
    """A condition that a row has something to rewrite, and its values. It may match more rows, never fewer."""
    if How.FACTS in SEALED[table].values():
        return "1 = 1", []
    types = {column: _is_binary(table, column) for column in columns}
    text, binary = (MARK, MARK_BYTES) if off else cipher.marks
    marks: dict[bool, str | bytes] = {False: text, True: binary}
    sign = "=" if off else "<>"
    condition = " OR ".join(f"substr({column}, 1, {len(marks[types[column]])}) {sign} ?" for column in columns)
    return condition, [marks[types[column]] for column in columns]


def _rewrite(tx: Tx, table: str, key: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Writes a row. One whose key is sealed may be there already, sealed by a process that runs: then the old one goes."""
    same = " AND ".join(f"{name} = ?" for name in key)
    new = {name: changed.get(name, value) for name, value in key.items()}
    if new != key and tx.run(f"SELECT 1 FROM {table} WHERE {same}", *new.values()).first():
        tx.run(f"DELETE FROM {table} WHERE {same}", *key.values())
        return
    assignments = ", ".join(f"{name} = ?" for name in changed)
    tx.run(f"UPDATE {table} SET {assignments} WHERE {same}", *changed.values(), *key.values())


def _again(cipher: Cipher, how: How, value: Any, *, off: bool) -> Any:
    if isinstance(value, memoryview):
        value = bytes(value)
    if value is None or value in PLAIN:
        return value
    if how is How.FACTS:
        return personal_changed(value, lambda text: str(_again(cipher, How.WHOLE, text, off=off)))
    if not off and cipher.is_current(value):
        return value
    plain = cipher.unseal(value)
    return plain if off else cipher.sealed(how, plain)


def _key_of(table: str) -> tuple[str, ...]:
    """The primary key, and last of it the id that the table is walked by, of which several rows may share one."""
    names = [column.name for column in tables.metadata.tables[table].primary_key]
    return tuple(sorted(names, key=lambda name: (name.endswith("id"), name)))


def _is_binary(table: str, column: str) -> bool:
    column_type: Any = tables.metadata.tables[table].columns[column].type
    return bool(column_type.python_type is bytes)
