"""What people do with parked events: values that they fill in by hand, and events that they dismiss.

Expands only: the version before reads neither. To it, a dismissed event is an ignored one, and what was filled in made a Sale.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
oldest_code = "0001"


def upgrade() -> None:
    op.create_table(
        "fill_ins",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "field", name=op.f("pk_fill_ins")),
    )
    op.create_table(
        "dismissals",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_dismissals")),
    )
