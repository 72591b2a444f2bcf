"""Progress of long runs, so that an interrupted run can continue, and the time of the last round of work that one process
does for all."""

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


def round_is_due(tx: Tx, name: str, now: int, every_ms: int) -> bool:
    """Whether no process has taken the round `name` for `every_ms`. Cheap, and writes nothing."""
    taken = tx.run("SELECT value FROM counters WHERE name = ?", name).scalar()
    return taken is None or taken <= now - every_ms


def take_round(tx: Tx, name: str, now: int, every_ms: int) -> bool:
    """Whether the caller gets this round. Of all callers, exactly one does."""
    tx.run("INSERT INTO counters (name, value) VALUES (?, 0) ON CONFLICT DO NOTHING", name)
    statement = "UPDATE counters SET value = ? WHERE name = ? AND value <= ?"
    return bool(tx.run(statement, now, name, now - every_ms).rowcount)


def return_round(tx: Tx, name: str, taken_at: int) -> None:
    """Returns the round taken at `taken_at` unfinished, so that another process can take it."""
    tx.run("UPDATE counters SET value = 0 WHERE name = ? AND value = ?", name, taken_at)
