"""How far a long run came, so that an interrupted one need not begin anew."""

from sqlalchemy import Connection

from app.ledger.engine import Ledger


def read_cursor(ledger: Ledger, connection: Connection, name: str) -> int | None:
    """The value kept under `name`; None where there is none."""
    value: int | None = ledger.run(connection, "SELECT value FROM counters WHERE name = ?", name).scalar()
    return value


def keep_cursor(ledger: Ledger, connection: Connection, name: str, value: int) -> None:
    """Keeps `value` under `name`, whatever was there before."""
    ledger.run(
        connection,
        "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name,
        value,
    )


def drop_cursor(ledger: Ledger, connection: Connection, name: str) -> None:
    """Forgets it. Idempotent."""
    ledger.run(connection, "DELETE FROM counters WHERE name = ?", name)
