"""What all tables share: the metadata, the types of keys and ids, and the conditions of partial indexes."""

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, MetaData, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex

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
OPEN = "due_at IS NOT NULL"
UNCLAIMED = "due_at IS NOT NULL AND claim IS NULL"
"""Also so that PostgreSQL cannot take the index on what is due for the one on a person's open deliveries: where its statistics
are from a time when nothing was open, both look empty to it."""
HELD = "held > 0"
DEAD = "status = 'dead'"
UNATTRIBUTED = "status = 'unattributed'"
REPEATED = "received_count > 1"
PARKED = "outcome = 'parked'"
FAILED = "status IN ('dead', 'retrying')"
KIND = "kind IS NOT NULL"
WAITS = "next_try_at IS NOT NULL"
CLICKED = "click_first IS NOT NULL"
CLICKED_AGAIN = "click_last <> click_first"
MERGED = "merged_into IS NOT NULL"
SOLD = "kind = 'sale' AND clicked IS NOT NULL"
SANDBOX = "destination = 'sandbox'"
SCOPED = "kind = 'alias' AND length(value) - length(replace(value, ':', '')) > 1"
"""Providers' IDs with an account: "stripe:acct_1:cus_1"."""
LARGEST_ID = 2**63 - 1
"""Beyond it no id can lie, and both drivers raise where they are asked for one."""

_CONDITION = "condition"


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows for which `where` is true.

    Not by sqlite_where and postgresql_where: to check these names, SQLAlchemy loads the dialects of both databases (3 MB in every
    process).
    """
    return Index(name, *columns, info={_CONDITION: where})


@compiles(CreateIndex)
def _create_index(element: CreateIndex, compiler: Any, **options: Any) -> str:
    statement: str = compiler.visit_create_index(element, **options)
    condition = element.element.info.get(_CONDITION)
    return f"{statement} WHERE {condition}" if condition else statement
