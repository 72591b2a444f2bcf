"""The newest rows of a person, and the parked events of a source, without reading all of them.

The indexes on a person's rows also hold their IDs, and replace those that did not. They serve the version before as well.
"""

from sqlalchemy import Connection

from app.ledger.migrations.online import build_index, drop_index

revision = "0023"
down_revision = "0022"
oldest_code = "0001"


def prepare(connection: Connection) -> None:
    build_index(connection, "ix_events_parked", "events (outcome, source, id) WHERE outcome = 'parked'")
    for table in ("deliveries", "events", "conversions"):
        build_index(connection, f"ix_{table}_person_newest", f"{table} (person_id, id)")
        drop_index(connection, f"ix_{table}_person")


def upgrade() -> None:
    """prepare() did it."""
