"""How far a long run came, so that an interrupted one need not begin anew."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from app.ledger.engine import Ledger


def read_cursors(ledger: Ledger, names: Sequence[str]) -> dict[str, int]:
    """The values kept under those of `names` that have one."""
    condition, value = ledger.among("name", names)
    with ledger.read() as connection:
        rows = ledger.run(connection, f"SELECT name, value FROM counters WHERE {condition}", value).all()
    return {name: int(kept) for name, kept in rows}


def keep_cursors(ledger: Ledger, values: Mapping[str, int]) -> None:
    """Keeps `values`, all or none, whatever was there before."""
    statement = (
        "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )

    def work(connection: Connection) -> None:
        ledger.run_many(connection, statement, sorted(values.items()))

    ledger.transact(work)


def drop_cursors(ledger: Ledger, names: Sequence[str]) -> None:
    """Forgets them. Idempotent."""

    def work(connection: Connection) -> None:
        ledger.run_many(connection, "DELETE FROM counters WHERE name = ?", [(name,) for name in sorted(names)])

    ledger.transact(work)
