"""Which migrations were applied, in a table that version 0.1.0 does not look at, so that it can be started beside this one."""

from alembic import op

from app.ledger.migrations.online import create_revisions

revision = "0009"
down_revision = "0008"
oldest_code = "0001"


def upgrade() -> None:
    create_revisions(op.get_bind())
