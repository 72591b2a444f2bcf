"""Whether a conversion carries a click ID. NULL for those recorded before, which are not counted."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
oldest_code = "0001"


def upgrade() -> None:
    op.add_column("conversions", sa.Column("clicked", sa.Integer(), nullable=True))
