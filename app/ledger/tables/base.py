"""What all tables share: the metadata, the types of keys and ids, and the conditions of partial indexes."""

from sqlalchemy import BigInteger, Integer, MetaData, String, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)
# Prefix look-ups (an id cut off after 25 characters) need byte order, whatever the database's locale.
KEY = String().with_variant(String(collation="C"), "postgresql")
ID = BigInteger().with_variant(Integer, "sqlite")
OPEN = text("due_at IS NOT NULL")
UNCLAIMED = text("due_at IS NOT NULL AND claim IS NULL")
"""Also so that PostgreSQL cannot take the index on what is due for the one on a person's open deliveries: where its statistics
are from a time when nothing was open, both look empty to it."""
HELD = text("held > 0")
DEAD = text("status = 'dead'")
UNATTRIBUTED = text("status = 'unattributed'")
REPEATED = text("received_count > 1")
FAILED = text("status IN ('dead', 'retrying')")
KIND = text("kind IS NOT NULL")
WAITS = text("next_try_at IS NOT NULL")
CLICKED = text("click_first IS NOT NULL")
CLICKED_AGAIN = text("click_last <> click_first")
MERGED = text("merged_into IS NOT NULL")
SOLD = text("kind = 'sale' AND clicked IS NOT NULL")
LARGEST_ID = 2**63 - 1
"""Beyond it no id can lie, and both drivers raise where they are asked for one."""
