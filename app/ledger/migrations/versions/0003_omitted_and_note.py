"""Deliveries say what their format left out, and what their destination's answer means beyond its status."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("omitted", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("note", sa.Text(), nullable=True))
