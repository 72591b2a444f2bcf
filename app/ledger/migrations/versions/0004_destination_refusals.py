"""destinations: what was last taken, what was refused since, and what fails for itself

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("destinations", sa.Column("taken_at", sa.BigInteger(), nullable=True))
    op.add_column("destinations", sa.Column("taken_print", sa.String(), nullable=True))
    op.add_column("destinations", sa.Column("refused", sa.Text(), nullable=True))
    op.add_column("destinations", sa.Column("recheck_at", sa.BigInteger(), nullable=True))
    op.add_column("destinations", sa.Column("mixed", sa.Text(), nullable=True))
