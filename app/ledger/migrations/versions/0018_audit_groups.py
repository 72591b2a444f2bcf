"""Lines of the audit log that belong together, such as those of one bulk replay."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
oldest_code = "0001"


def upgrade() -> None:
    op.add_column("audit", sa.Column("part_of", sa.BigInteger(), nullable=True))
    is_part, is_whole = sa.text("part_of IS NOT NULL"), sa.text("part_of IS NULL")
    op.create_index("ix_audit_part_of", "audit", ["part_of", "id"], postgresql_where=is_part, sqlite_where=is_part)
    op.create_index("ix_audit_lines", "audit", ["id"], postgresql_where=is_whole, sqlite_where=is_whole)
