"""What migrations use besides Alembic's operations."""

from sqlalchemy import Connection, text

FLOOR = "schema_floor"
"""The row of `counters` that holds the oldest revision whose code can still use the ledger. No row: every revision."""
REVISIONS = "schema_revisions"
"""The table of the migrations that were applied (schema.record_revision)."""


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
        drop_index(connection, name)
    if not is_valid:
        connection.execute(text(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {columns}"))


def drop_index(connection: Connection, name: str) -> None:
    """Drops an index if it exists, without making writers wait (PostgreSQL). For prepare(): not in a transaction."""
    kind = "INDEX" if connection.dialect.name == "sqlite" else "INDEX CONCURRENTLY"
    connection.execute(text(f"DROP {kind} IF EXISTS {name}"))


def create_revisions(connection: Connection) -> None:
    """Creates the table of applied migrations unless it exists."""
    columns = "revision VARCHAR NOT NULL, applied_at BIGINT NOT NULL"
    constraint = f"CONSTRAINT pk_{REVISIONS} PRIMARY KEY (revision)"
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {REVISIONS} ({columns}, {constraint})"))


def raise_floor(connection: Connection, revision: str) -> None:
    """Makes code older than `revision` refuse the ledger. A migration need not call it: `oldest_code` does."""
    if int(revision) > (read_number(connection, FLOOR) or 0):
        connection.execute(text("DELETE FROM counters WHERE name = :name"), {"name": FLOOR})
        values = {"name": FLOOR, "value": int(revision)}
        connection.execute(text("INSERT INTO counters (name, value) VALUES (:name, :value)"), values)


def read_number(connection: Connection, name: str) -> int | None:
    """A number that `counters` holds; None if it does not."""
    number: int | None = connection.execute(
        text("SELECT value FROM counters WHERE name = :name"), {"name": name}
    ).scalar()
    return number
