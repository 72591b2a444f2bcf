"""The ledger's schema: its revision, the check of its tables, and the upgrade to the newest revision."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, inspect, text

from app.errors import LedgerUnavailable, SchemaOutdated
from app.ledger.engine import Ledger
from app.ledger.failures import is_contention
from app.ledger.migrations.online import FLOOR, REVISIONS, create_revisions, raise_floor, read_number
from app.ledger.schema_differences import differences
from app.ledger.transaction import Tx

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
UPGRADE_LOCK = 7236491
LOCK_TIMEOUT = "2s"
"""For a migration's locks. While it waits for one, everybody else who wants that table waits behind it."""
PATIENCE_SECONDS = 300.0
MOST_NAMED = 8
FIRST = "0001"
"""Version 0.1.0 starts only where `alembic_version` says this. So that it can be started again beside a later version, that table
goes on saying so, and `schema_revisions` has the revision; until a migration shuts version 0.1.0 out."""

log = structlog.get_logger(__name__)


def newest_revision(migrations: Path = MIGRATIONS) -> str:
    """The revision of the newest file in versions/, read from its name, so that starting need not load Alembic."""
    return max(path.name[:4] for path in (migrations / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


HEAD = newest_revision()


def current_revision(ledger: Ledger) -> str | None:
    """The revision that the ledger is at; None for an empty database. Raises LedgerUnavailable."""
    with ledger.read() as tx:
        return _revision(tx.connection)


def is_newer(revision: str | None, head: str = HEAD) -> bool:
    """Whether a ledger at `revision` was upgraded by a later version of this program."""
    return revision is not None and bool(re.fullmatch(r"\d{4}", revision)) and revision > head


def check_schema(ledger: Ledger) -> None:
    """Raises SchemaOutdated unless this code can use the ledger, and says what to do.

    A ledger that a later version upgraded is accepted as long as it has everything this code needs.
    """
    with ledger.read() as tx:
        revision = _revision(tx.connection)
        newer = is_newer(revision)
        if revision != HEAD and not newer:
            raise SchemaOutdated(_outdated(revision))
        if newer:
            floor = read_number(tx.connection, FLOOR)
            if floor is not None and floor > int(HEAD):
                raise SchemaOutdated(
                    f"the ledger is at {revision}, and this version ({HEAD}) is too old for it: run the newer version again"
                )
        problems = differences(tx)
    if not problems:
        return
    named = "; ".join(problems[:MOST_NAMED]) + (
        f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    )
    if newer:
        raise SchemaOutdated(
            f"the ledger is at {revision}, newer than this version ({HEAD}), which cannot use it: {named}."
            " Run the newer version again"
        )
    raise SchemaOutdated(
        f"the ledger says it is at {revision}, but its tables are not those of {revision}: {named}."
        " It was changed by hand, or made by a version that was never released: restore a backup, or start with an empty ledger"
    )


def upgrade(ledger: Ledger, migrations: Path = MIGRATIONS) -> None:
    """Brings the ledger to the newest revision. Idempotent; two at once wait for each other.

    Statements have no time limit. A lock that is not granted soon is asked for again, for PATIENCE_SECONDS. Leaves a ledger that
    a later version upgraded as it is. Raises LedgerUnavailable; SchemaOutdated where the tables are not what they should be.
    """
    from alembic.script import ScriptDirectory

    config = alembic_config(migrations)
    head = newest_revision(migrations)
    with only_one(ledger):
        revision = current_revision(ledger)
        if not is_newer(revision, head):
            if revision is not None and not re.fullmatch(r"\d{4}", revision):
                raise SchemaOutdated(_outdated(revision))
            scripts = ScriptDirectory.from_config(config)
            for script in reversed(list(scripts.iterate_revisions(head, revision or "base"))):
                prepare = getattr(script.module, "prepare", None)
                if prepare is not None:
                    patiently(partial(_prepare, ledger, prepare))
                oldest = getattr(script.module, "oldest_code", FIRST)
                patiently(partial(_step, ledger, config, script.revision, oldest))
    if migrations == MIGRATIONS:
        check_schema(ledger)


def alembic_config(migrations: Path = MIGRATIONS) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


def _outdated(revision: str | None) -> str:
    if revision is None:
        return f"the ledger is empty; this version needs {HEAD}: run `bridge db upgrade`"
    if not re.fullmatch(r"\d{4}", revision):
        return (
            f"the database is at {revision}, which is not a revision of this program: another program's tables are in it."
            " Give the bridge a database of its own"
        )
    return f"the ledger is at {revision}; this version needs {HEAD}: run `bridge db upgrade`"


def _revision(connection: Connection) -> str | None:
    inspector = inspect(connection)
    if not inspector.has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision != FIRST or not inspector.has_table(REVISIONS):
        return revision
    recorded: str | None = connection.execute(text(f"SELECT MAX(revision) FROM {REVISIONS}")).scalar()
    return recorded or FIRST


def record_revision(connection: Connection, revision: str) -> None:
    """Records that the ledger is at `revision`, so that every version that may use it starts."""
    recorded = revision if (read_number(connection, FLOOR) or 0) > int(FIRST) else FIRST
    connection.execute(text("UPDATE alembic_version SET version_num = :said"), {"said": recorded})
    create_revisions(connection)
    connection.execute(text(f"DELETE FROM {REVISIONS} WHERE revision >= :revision"), {"revision": revision})
    values = {"revision": revision, "at": int(time.time() * 1000)}
    connection.execute(text(f"INSERT INTO {REVISIONS} (revision, applied_at) VALUES (:revision, :at)"), values)


@contextmanager
def only_one(ledger: Ledger) -> Iterator[None]:
    """Waits until no other process upgrades. On SQLite the write lock of each step is enough."""
    if ledger.is_sqlite:
        yield
        return
    statement = text(f"SELECT pg_try_advisory_xact_lock({UPGRADE_LOCK})")
    while True:
        with ledger.read() as tx:
            if tx.connection.execute(statement).scalar_one():
                tx.set_deadline(None)
                tx.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                yield
                return
        # Each attempt is its own transaction. CREATE INDEX CONCURRENTLY waits for the end of every transaction that ran a statement
        # when it looked: a process that kept one open here would wait for the upgrade, and the upgrade for it.
        time.sleep(0.2)


def _step(ledger: Ledger, config: "Config", revision: str, oldest_code: str) -> None:
    from alembic import command

    with ledger.write() as tx:
        before = _revision(tx.connection)
        if (before or "") >= revision:  # another process was faster
            return
        without_time_limit(tx)
        if before is not None:  # for Alembic, which goes on from there
            tx.connection.execute(text("UPDATE alembic_version SET version_num = :before"), {"before": before})
        config.attributes["connection"] = tx.connection
        command.upgrade(config, revision)
        if oldest_code > FIRST:
            raise_floor(tx.connection, oldest_code)
        record_revision(tx.connection, revision)


def without_time_limit(tx: Tx) -> None:
    """Removes the time limit of an upgrade's statements, but not that of waiting for a lock (PostgreSQL)."""
    if tx.is_sqlite:
        return
    tx.set_deadline(None)
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        tx.connection.execute(text(f"SET LOCAL {name} = 0"))
    tx.connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


def _prepare(ledger: Ledger, prepare: Callable[[Connection], None]) -> None:
    """Runs `prepare` outside a transaction, on a connection that is closed afterwards."""
    with ledger.autocommit() as connection:
        if not ledger.is_sqlite:
            Tx(connection, is_sqlite=False, clock=time.time).set_deadline(None)
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SET lock_timeout = 0"))  # nothing waits behind an index that is built concurrently
        prepare(connection)


def patiently(work: Callable[[], None]) -> None:
    deadline, waits = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            return work()
        except LedgerUnavailable as error:
            if not is_contention(error) or time.monotonic() > deadline:
                raise
        if not waits:
            log.warning("migration.waiting", reason="a table that it changes is in use")
        waits = True
        time.sleep(1.0)
