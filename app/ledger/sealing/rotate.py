"""Seals everything with the current key, including plain data and data of older keys, or unseals everything."""

from collections.abc import Callable
from functools import partial
from typing import Any

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.sealing.cipher import MARK, MARK_BYTES, PLAIN, SEALED, Cipher
from app.ledger.sealing.keys import forget_keys, used_keys
from app.ledger.transaction import Tx

WINDOW = 500
"""Rows that are read at once, each time in a short transaction."""

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
    columns = sorted(SEALED[table])
    ids = [
        int(row_id)
        for row_id in tx.run(f"SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT {WINDOW}", after).scalars().all()
    ]
    if not ids:
        return 0, None
    types = {column: _is_binary(table, column) for column in columns}
    marks = dict(zip((False, True), (MARK, MARK_BYTES) if off else cipher.marks, strict=True))
    stale = " OR ".join(
        f"substr({column}, 1, {len(marks[types[column]])}) {'=' if off else '<>'} ?" for column in columns
    )
    rows = tx.run(
        f"SELECT id, {', '.join(columns)} FROM {table} WHERE id >= ? AND id <= ? AND ({stale}){tx.for_update}",
        ids[0],
        ids[-1],
        *(marks[types[column]] for column in columns),
    ).all()
    written = 0
    for identity, *values in rows:
        changed = {column: _again(cipher, value, off=off) for column, value in zip(columns, values, strict=True)}
        if list(changed.values()) == values:
            continue
        assignments = ", ".join(f"{column} = ?" for column in columns)
        tx.run(f"UPDATE {table} SET {assignments} WHERE id = ?", *changed.values(), identity)
        written += 1
    return written, ids[-1]


def _again(cipher: Cipher, value: Any, *, off: bool) -> Any:
    if isinstance(value, memoryview):
        value = bytes(value)
    if value is None or value in PLAIN or (not off and cipher.is_current(value)):
        return value
    plain = cipher.unseal(value)
    return plain if off else cipher.seal(plain)


def _is_binary(table: str, column: str) -> bool:
    column_type: Any = tables.metadata.tables[table].columns[column].type
    return bool(column_type.python_type is bytes)
