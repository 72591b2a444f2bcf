"""Reading for people and programs, beside the reads that intake and workers make."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from app.ledger.engine import Ledger


@contextmanager
def look(ledger: Ledger) -> Iterator[Connection]:
    """A read for people, planned by the values that are asked for."""
    with ledger.read() as connection:
        plan_by_value(ledger, connection)
        yield connection


def plan_by_value(ledger: Ledger, connection: Connection) -> None:
    """PostgreSQL, until the transaction ends: a plan that must do for every value walks down the ids of all events to find
    the newest one of a source, which takes seconds where that source is rare."""
    if not ledger.is_sqlite:
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")
