"""Finding what a destination could not attribute, by person."""

from sqlalchemy import Connection

from app.ledger.migrations.online import build_index

revision = "0006"
down_revision = "0005"


def prepare(connection: Connection) -> None:
    build_index(connection, "ix_deliveries_unattributed", "deliveries (person_id) WHERE status = 'unattributed'")


def upgrade() -> None:
    """prepare() did it."""
