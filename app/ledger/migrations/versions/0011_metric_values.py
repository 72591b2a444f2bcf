"""What all processes count for /metrics, added up."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
oldest_code = "0001"


def upgrade() -> None:
    op.create_table(
        "metric_values",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("series", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "series", "part", "process", name=op.f("pk_metric_values")),
    )
