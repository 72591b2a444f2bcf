"""Deliveries to the sandbox, and providers' IDs that carry an account: most ledgers have few or none of either."""

from sqlalchemy import Connection

from app.ledger.migrations.online import build_index

revision = "0024"
down_revision = "0023"
oldest_code = "0001"


def prepare(connection: Connection) -> None:
    columns = "deliveries (destination, source, status, id) WHERE destination = 'sandbox'"
    build_index(connection, "ix_deliveries_sandbox", columns)
    scoped = "kind = 'alias' AND length(value) - length(replace(value, ':', '')) > 1"
    build_index(connection, "ix_identifiers_scoped", f"identifiers (kind, value) WHERE {scoped}")


def upgrade() -> None:
    """prepare() did it."""
