"""Takes the last step of the schema back, where nothing is lost by it.

Old code runs on a newer schema, so going back to the version before needs none of this. It is for a ledger that has to look as
if the last migration had never run. What that migration added is found by applying all of them to an empty database in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text

from app.errors import SchemaOutdated
from app.ledger.engine import Ledger
from app.ledger.migrations.online import FLOOR, REVISIONS, read_number
from app.ledger.reading.summary.stats import workers_alive
from app.ledger.schema import (
    FIRST,
    MIGRATIONS,
    alembic_config,
    current_revision,
    is_newer,
    newest_revision,
    only_one,
    patiently,
    record_revision,
    without_time_limit,
)
from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class Shape:
    """What a schema consists of, by name. columns and indexes are pairs of table and name."""

    tables: frozenset[str]
    columns: frozenset[tuple[str, str]]
    indexes: frozenset[tuple[str, str]]


def downgrade(ledger: Ledger, migrations: Path = MIGRATIONS) -> str:
    """Takes back the newest migration and returns the revision that the ledger is at now.

    Raises SchemaOutdated if that is not safe: data would be lost, the migration did not only add, or a worker runs.
    """
    head = newest_revision(migrations)
    with only_one(ledger):
        revision = current_revision(ledger)
        if revision != head:
            if is_newer(revision, head):
                raise SchemaOutdated(
                    f"the ledger is at {revision}, newer than this version ({head}): run `bridge db downgrade` of the newer version"
                )
            where = f"at {revision}" if revision else "empty"
            raise SchemaOutdated(f"the ledger is {where}: there is nothing for this version ({head}) to undo")
        if head == FIRST:
            raise SchemaOutdated(f"{FIRST} is the first revision: there is none before it")
        before, added, dropped = _changes(migrations, head)
        patiently(lambda: _take_back(ledger, head, before, added, dropped))
    return before


def _take_back(ledger: Ledger, head: str, before: str, added: Shape, dropped: Sequence[str]) -> None:
    with ledger.write() as tx:
        without_time_limit(tx)
        if workers_alive(tx, tx.now()):
            raise SchemaOutdated(
                "a worker is running: stop the bridge first (a stopped worker is noticed within a minute)"
            )
        if (read_number(tx.connection, FLOOR) or 0) >= int(head):
            raise SchemaOutdated(f"{head} shuts older versions out, so it cannot be taken back: restore a backup")
        if kept := _kept(tx, added):
            raise SchemaOutdated(
                f"{head} cannot be taken back without losing what is in {', '.join(kept)}."
                f" The version of {before} runs on this ledger as it is: start that one"
            )
        for statement in dropped:
            tx.connection.execute(text(statement))
        for _, index in sorted(added.indexes):
            tx.connection.execute(text(f"DROP INDEX IF EXISTS {index}"))
        for table, column in sorted(added.columns):
            tx.connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        for table in sorted(added.tables):
            tx.connection.execute(text(f"DROP TABLE {table}"))
        tx.run(f"DELETE FROM {REVISIONS} WHERE revision > ?", before)
        record_revision(tx.connection, before)


def _kept(tx: Tx, added: Shape) -> list[str]:
    """Which of the added tables and columns hold something."""
    kept = [table for table in sorted(added.tables) if tx.run(f"SELECT 1 FROM {table} LIMIT 1").first()]
    for table, column in sorted(added.columns):
        if tx.run(f"SELECT 1 FROM {table} WHERE {column} IS NOT NULL LIMIT 1").first():
            kept.append(f"{table}.{column}")
    return kept


def _changes(migrations: Path, head: str) -> tuple[str, Shape, list[str]]:
    """The revision before `head`, what `head` added, and the statements that build the indexes it dropped. Raises SchemaOutdated
    if it removed anything else."""
    from alembic import command
    from alembic.script import ScriptDirectory

    config = alembic_config(migrations)
    scripts = ScriptDirectory.from_config(config)
    before = str(scripts.get_revision(head).down_revision)
    shapes = []
    built: dict[str, str] = {}
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        for script in reversed(list(scripts.iterate_revisions(head, "base"))):
            if script.revision == head:
                shapes.append(_shape(connection))
                statement = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
                built = {row[0]: row[1] for row in connection.execute(text(statement))}
            if prepare := getattr(script.module, "prepare", None):
                prepare(connection)
            command.upgrade(config, script.revision)
        shapes.append(_shape(connection))
    engine.dispose()
    old, new = shapes
    if not (old.tables <= new.tables and old.columns <= new.columns):
        raise SchemaOutdated(f"{head} removed something, so it cannot be taken back: restore a backup")
    tables = new.tables - old.tables
    added = Shape(
        tables,
        frozenset(pair for pair in new.columns - old.columns if pair[0] not in tables),
        frozenset(pair for pair in new.indexes - old.indexes if pair[0] not in tables),
    )
    return before, added, [built[index] for _, index in sorted(old.indexes - new.indexes)]


def _shape(connection: Connection) -> Shape:
    inspector = inspect(connection)
    tables = [name for name in inspector.get_table_names() if name != REVISIONS]  # the ledger's own record of its steps
    return Shape(
        frozenset(tables),
        frozenset((table, str(column["name"])) for table in tables for column in inspector.get_columns(table)),
        frozenset((table, str(index["name"])) for table in tables for index in inspector.get_indexes(table)),
    )
