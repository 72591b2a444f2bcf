"""Click ids that a person keeps beside the main one (app.clicks)."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
oldest_code = "0001"


def upgrade() -> None:
    op.add_column("persons", sa.Column("clicks", sa.Text(), nullable=True))
