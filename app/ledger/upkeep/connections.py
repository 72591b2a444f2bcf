"""Compares the connections that all processes may open with those that PostgreSQL accepts."""

from app.ledger.transaction import Tx
from app.ledger.upkeep.processes import running

LIMITS = (
    "SELECT current_setting('max_connections')::int"
    " - coalesce(current_setting('superuser_reserved_connections', true), '0')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int"
)


def connection_problem(tx: Tx, most: int) -> str | None:
    """The remedy if the running processes may ask for more connections than PostgreSQL accepts; None if they fit. most: the
    connections of each process. For PostgreSQL without a pooler."""
    processes = len(running(tx))
    room = int(tx.run(LIMITS).scalar_one())
    if processes * most <= room:
        return None
    each = max(1, room // processes)
    return (
        f"{processes} processes may open {processes * most} connections, and PostgreSQL takes {room}:"
        f" set DATABASE_POOL_MAX to {each} or less, raise max_connections, or use PgBouncer"
    )
