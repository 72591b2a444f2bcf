"""Refunds that are sent: the conversions of that kind, what formats remember of their Sales, and which event reported a mark.

Expands only: the version before neither reads nor writes any of it, and sends no refund.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
oldest_code = "0001"


def upgrade() -> None:
    op.create_table(
        "refunds",
        sa.Column("conversion_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sale_id", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("minor", sa.BigInteger(), nullable=False),
        sa.Column("is_dropped", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("conversion_id", name=op.f("pk_refunds")),
    )
    op.create_index("ix_refunds_sale", "refunds", ["sale_id"])
    op.create_table(
        "remembered",
        sa.Column("sale_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sale_id", "destination", name=op.f("pk_remembered")),
    )
    op.add_column("marks", sa.Column("event_id", sa.BigInteger(), nullable=True))
