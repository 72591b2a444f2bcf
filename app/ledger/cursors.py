"""How far a long run came, so that an interrupted one can continue."""

from collections.abc import Mapping, Sequence

from app.ledger.engine import Ledger
from app.ledger.transaction import Tx


def read_cursors(ledger: Ledger, names: Sequence[str]) -> dict[str, int]:
    """The values kept under those of `names` that have one."""
    with ledger.read() as tx:
        condition, value = tx.among("name", names)
        rows = tx.run(f"SELECT name, value FROM counters WHERE {condition}", value).all()
    return {name: int(kept) for name, kept in rows}


def keep_cursors(ledger: Ledger, values: Mapping[str, int]) -> None:
    """Keeps `values`, all or none, whatever was there before."""
    statement = (
        "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )

    def work(tx: Tx) -> None:
        tx.run_many(statement, sorted(values.items()))

    ledger.transact(work)


def drop_cursors(ledger: Ledger, names: Sequence[str]) -> None:
    """Forgets them. Idempotent."""

    def work(tx: Tx) -> None:
        tx.run_many("DELETE FROM counters WHERE name = ?", [(name,) for name in sorted(names)])

    ledger.transact(work)
