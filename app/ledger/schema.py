"""The ledger's schema: which revision it is at, and bringing it to the newest."""

from pathlib import Path

from sqlalchemy import inspect, text

from app.errors import SchemaOutdated
from app.ledger.engine import Ledger

HEAD = "0001"
"""The newest revision in migrations/versions; a test holds the two together, so that starting need not load alembic."""


def current_revision(ledger: Ledger) -> str | None:
    """The revision that the ledger is at; None for an empty database. Raises LedgerUnavailable."""
    with ledger.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def check_schema(ledger: Ledger) -> None:
    """Raises SchemaOutdated unless the ledger is at HEAD."""
    revision = current_revision(ledger)
    if revision != HEAD:
        state = f"at {revision}" if revision else "empty"
        raise SchemaOutdated(f"the ledger is {state}, this version needs {HEAD}: run `bridge db upgrade`")


def upgrade(ledger: Ledger) -> None:
    """Brings the ledger to HEAD. Idempotent; two at once wait for each other."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with ledger.write() as connection:
        if not ledger.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(7236491)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
