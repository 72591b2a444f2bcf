"""refusals: when the first and the last of an hour came

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refusals", sa.Column("first_at", sa.BigInteger(), nullable=True))
    op.add_column("refusals", sa.Column("last_at", sa.BigInteger(), nullable=True))
