"""What bounds the work of an event whose person has thousands of waiting deliveries. Expands only.

The version before goes on rendering all of them at every event, so a payload that it finds in place is never staler than its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

from app.ledger.migrations.online import build_index

revision = "0007"
down_revision = "0006"


def prepare(connection: Connection) -> None:
    build_index(connection, "ix_deliveries_person_held", "deliveries (person_id) WHERE held > 0")


def upgrade() -> None:
    op.create_table(
        "stale_payloads",
        sa.Column("person_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_stale_payloads")),
    )
