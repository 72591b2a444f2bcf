"""Who was merged into a person, for an export."""

from sqlalchemy import Connection

from app.ledger.migrations.online import build_index

revision = "0022"
down_revision = "0021"
oldest_code = "0001"


def prepare(connection: Connection) -> None:
    build_index(connection, "ix_persons_merged", "persons (merged_into) WHERE merged_into IS NOT NULL")


def upgrade() -> None:
    """prepare() did it."""
