"""Moves rows of a PostgreSQL table from its last pages to free room nearer to its beginning, and values that are stored out of
line likewise, in short transactions that change no value. Once the last pages are empty, VACUUM cuts them off.

No row lock is waited for: rows that others hold are skipped. A kill at any moment loses nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from app.ledger.actions.retention import Pace
from app.ledger.engine import Ledger, look
from app.ledger.transaction import Tx
from app.ledger.upkeep.bloat import WIDE, Column, total_size

PAGES = 16
"""Pages that are emptied in one transaction."""
ROUNDS = 300
"""PostgreSQL keeps a new version on its page while there is room. This many versions of the smallest row fill any page."""
BEYOND = 3
"""Rounds in which a row was put behind the end of the table, until it is clear that no free room is large enough."""
WINDOW = 200
BATCH_ROWS = 100
BATCH_BYTES = 512 * 1024

# What is moved is there before and after: a crash that loses the last moves loses nothing.
_BEGIN = "SET LOCAL synchronous_commit = off"


class _NoRoom(Exception):
    """The free room is too fragmented for these rows."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A table, how fast its rows move, and when to stop."""

    ledger: Ledger
    table: str
    columns: Sequence[Column]
    pace: Pace
    is_over: Callable[[], bool]

    @property
    def has_ids(self) -> bool:
        """Whether values() can go through the table."""
        return any(column.name == "id" for column in self.columns)

    def rows(self, pages: int, lowest: int) -> None:
        """Empties the pages from the last of `pages` down to `lowest`, as far as there is room for their rows."""
        high = pages
        while high > lowest and not self.is_over():
            low, began = max(lowest, high - PAGES), time.monotonic()
            try:
                count = self.ledger.transact(partial(self._empty, low=low, high=high))
            except _NoRoom:
                return
            if count:
                self.pace.rest(time.monotonic() - began)
            high = low

    def values(self, before: int, most_bytes: int) -> int | None:
        """Stores values of rows with IDs below `before` again, the newest row first, until about `most_bytes` were written. Returns
        the ID to go on from; None once all were stored again."""
        written = 0
        while not self.is_over() and written < most_bytes:
            with look(self.ledger) as tx:
                window = tx.run(
                    f"SELECT id, {total_size(self.columns)} FROM {self.table} WHERE id < ? ORDER BY id DESC LIMIT {WINDOW}",
                    before,
                ).all()
            if not window:
                return None
            ids: list[int] = []
            size = 0
            for identity, row_bytes in window:
                before = identity
                if row_bytes <= WIDE:
                    continue
                ids.append(identity)
                size += row_bytes
                if size >= BATCH_BYTES or len(ids) >= BATCH_ROWS:
                    break
            if ids:
                began = time.monotonic()
                self.ledger.transact(partial(self._store_again, ids=ids))
                self.pace.rest(time.monotonic() - began)
                written += size
        return before

    def _empty(self, tx: Tx, low: int, high: int) -> int:
        run, key = tx.connection.exec_driver_sql, self.columns[0].name
        run(_BEGIN)
        end = run(f"SELECT pg_relation_size('{self.table}') / current_setting('block_size')::int").scalar_one()
        found = f"SELECT ctid::text FROM {self.table} WHERE ctid >= '({low},0)' AND ctid < '({high},0)' FOR UPDATE SKIP LOCKED"
        places = list(run(found).scalars())
        count, beyond = len(places), 0
        update = f"UPDATE {self.table} SET {key} = {key} WHERE ctid = ANY (%s::tid[]) RETURNING ctid::text"
        for _ in range(ROUNDS):
            if not places:
                return count
            places = [place for place in run(update, (places,)).scalars() if _page(place) >= low]
            beyond += any(_page(place) >= end for place in places)
            if beyond > BEYOND:
                break
        raise _NoRoom

    def _store_again(self, tx: Tx, ids: Sequence[int]) -> None:
        run = tx.connection.exec_driver_sql
        run(_BEGIN)
        held = list(
            run(f"SELECT id FROM {self.table} WHERE id = ANY (%s) FOR UPDATE SKIP LOCKED", (list(ids),)).scalars()
        )
        # A value that an expression returns is stored again, even where it is the same.
        changes = ", ".join(
            f"{column.name} = {column.name} || ''{'::bytea' if column.type == 'bytea' else ''}"
            for column in self.columns
            if column.is_wide
        )
        run(f"UPDATE {self.table} SET {changes} WHERE id = ANY (%s)", (held,))


def _page(ctid: str) -> int:
    """The page in a "(page,line)"."""
    return int(ctid[1 : ctid.index(",")])
