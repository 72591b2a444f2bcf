"""What could be read from events that counted nothing (event_facts), and which conflicts mean that something was counted twice.

Expands only: the version before neither reads nor writes any of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "event_facts",
        sa.Column("value", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("given", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("value", "kind", "event_id", name=op.f("pk_event_facts")),
    )
    op.create_index("ix_event_facts_event", "event_facts", ["event_id"])
    op.add_column("conflicts", sa.Column("kind", sa.String(), nullable=True))
    is_set = sa.text("kind IS NOT NULL")
    op.create_index("ix_conflicts_kind", "conflicts", ["kind", "at"], postgresql_where=is_set, sqlite_where=is_set)
