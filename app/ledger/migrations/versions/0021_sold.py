"""Counting Sales with and without a click ID by week and source."""

from sqlalchemy import Connection

from app.ledger.migrations.online import build_index

revision = "0021"
down_revision = "0020"
oldest_code = "0001"


def prepare(connection: Connection) -> None:
    columns = "conversions (created_at, source, clicked) WHERE kind = 'sale' AND clicked IS NOT NULL"
    build_index(connection, "ix_conversions_sold", columns)


def upgrade() -> None:
    """prepare() did it."""
