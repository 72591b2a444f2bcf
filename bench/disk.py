"""What a ledger takes of the disk."""

from pathlib import Path

import psycopg
from sqlalchemy import make_url


def ledger_bytes(url: str) -> int:
    """Of a ledger: on SQLite without what is only in the write-ahead log, which is used again."""
    if url.startswith("sqlite"):
        return Path(make_url(url).database or "").stat().st_size
    return ask_postgres(url, "SELECT pg_database_size(current_database())")


def ask_postgres(url: str, statement: str) -> int:
    """The one number that a statement returns."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])
