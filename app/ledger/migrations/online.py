"""What migrations use besides Alembic's operations."""

from sqlalchemy import Connection, text

FLOOR = "schema_floor"
"""The row of `counters` that holds the oldest revision whose code can still use the ledger. No row: every revision."""


def build_index(connection: Connection, name: str, columns: str, *, unique: bool = False) -> None:
    """Creates an index unless it exists, without making writers wait (PostgreSQL). For prepare(): not in a transaction.

    columns: the table and what is indexed, such as "events (source, id) WHERE outcome = 'parked'".
    """
    kind = "UNIQUE INDEX" if unique else "INDEX"
    if connection.dialect.name == "sqlite":
        connection.execute(text(f"CREATE {kind} IF NOT EXISTS {name} ON {columns}"))
        return
    is_valid = connection.execute(
        text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"), {"name": name}
    ).scalar()
    if is_valid is False:  # an earlier build was interrupted
        connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
    if not is_valid:
        connection.execute(text(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {columns}"))


def raise_floor(connection: Connection, revision: str) -> None:
    """Makes code older than `revision` refuse the ledger. For upgrade(), where something is removed."""
    connection.execute(text("DELETE FROM counters WHERE name = :name"), {"name": FLOOR})
    values = {"name": FLOOR, "value": int(revision)}
    connection.execute(text("INSERT INTO counters (name, value) VALUES (:name, :value)"), values)
