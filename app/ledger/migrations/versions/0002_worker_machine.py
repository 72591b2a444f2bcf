"""workers: the boot and the PID namespace in which a pid means something

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("boot_id", sa.String(), nullable=True))
    op.add_column("workers", sa.Column("pid_namespace", sa.String(), nullable=True))
