"""Migrations: ledgers of every released revision open under this code, and what does not fit is named."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import app.ledger.schema as schema
from app.errors import SchemaOutdated
from app.ledger.engine import Ledger
from app.ledger.schema import HEAD, MIGRATIONS, check_schema, current_revision, upgrade
from app.ledger.tables import metadata
from app.ledger.transaction import Tx
from app.ledger.upkeep.downgrade import downgrade
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.makers import change, one
from tests.support.old_version import versions
from tests.support.released_ledgers import FOLDER, REVISIONS, load, revisions


def test_the_newest_revision_is_the_one_head_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrations_make_exactly_the_tables_that_are_declared(ledger: Ledger) -> None:
    with ledger.read() as tx:
        differences = compare_metadata(MigrationContext.configure(tx.connection), metadata)
    assert differences == []


def test_the_migrations_make_exactly_the_indexes_that_are_declared(empty: Ledger) -> None:
    with empty.write() as tx:
        metadata.create_all(tx.connection)
    declared = indexes_of(empty)
    with empty.write() as tx:
        metadata.drop_all(tx.connection)
    upgrade(empty)
    assert any(" where " in definition for definition in declared.values())
    assert indexes_of(empty) == declared


def indexes_of(ledger: Ledger) -> dict[str, str]:
    """How each index was made, with its condition, which Alembic does not compare."""
    statement = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    if ledger.is_sqlite:
        statement = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    with ledger.read() as tx:
        definitions = tx.run(statement).all()
    return {name: re.sub(r"[\s\"]+", " ", text.lower()) for name, text in definitions}


@pytest.mark.parametrize("revision", revisions())
def test_a_released_ledger_is_upgraded_to_exactly_the_tables_that_are_declared(
    empty: Ledger, empty_url: str, revision: str
) -> None:
    load(revision, empty_url)
    assert current_revision(empty) == revision
    upgrade(empty)
    check_schema(empty)
    assert current_revision(empty) == HEAD
    with empty.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.connection), metadata) == []


def test_every_release_has_its_ledger_and_its_code_kept() -> None:
    released = re.findall(r"^## v?(\d+\.\d+\.\d+)", Path("CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert {f"v{version}" for version in released} == set(REVISIONS) == set(versions())
    assert set(REVISIONS.values()) == set(revisions())
    for revision in revisions():
        assert (FOLDER / f"{revision}.postgresql.sql").exists()


def test_every_migration_says_which_code_may_run_beside_it() -> None:
    for path in sorted((MIGRATIONS / "versions").glob("[0-9]*.py")):
        if path.name[:4] > "0008":  # those before only add
            assert re.search(r'^oldest_code = "\d{4}"$', path.read_text("utf-8"), re.MULTILINE), path.name


def test_an_empty_database_is_refused_with_the_remedy_and_upgraded_once_for_all(empty: Ledger) -> None:
    assert current_revision(empty) is None
    with pytest.raises(SchemaOutdated, match=r"empty.*bridge db upgrade"):
        check_schema(empty)
    upgrade(empty)
    upgrade(empty)
    check_schema(empty)


def test_two_upgrades_at_once_wait_for_each_other(empty_url: str) -> None:
    def one_upgrade(_: int) -> None:
        ledger = Ledger(empty_url)
        upgrade(ledger)
        check_schema(ledger)
        ledger.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one_upgrade, range(3)))


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_process_that_waits_for_an_upgrade_keeps_no_transaction_open(ledger: Ledger, ledger_url: str) -> None:
    """CREATE INDEX CONCURRENTLY waits until every transaction ends that ran a statement when it looked."""
    rests: set[object] = set()
    resting = (
        "SELECT state_change FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
    )
    with psycopg.connect(ledger_url, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_lock(%s)", (schema.UPGRADE_LOCK,))
        done = pool.submit(upgrade, ledger)

        def rests_between_attempts() -> bool:
            """Outside a transaction its session is `idle`, and within one `idle in transaction`."""
            rests.update(since for (since,) in other.execute(resting))
            return len(rests) > 3

        try:
            wait_for(rests_between_attempts)
            assert not done.done()
        finally:
            other.execute("SELECT pg_advisory_unlock(%s)", (schema.UPGRADE_LOCK,))
        done.result(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["DROP INDEX ix_deliveries_dead", "ALTER TABLE deliveries DROP COLUMN dead_at"], "deliveries.dead_at is missing"),
        (["DROP TABLE refusals", "DROP TABLE alerts"], "table alerts is missing; table refusals is missing"),
        (["ALTER TABLE workers RENAME COLUMN pid_started TO began"], "workers.pid_started is missing"),
        (
            ["DROP TABLE dedupe_keys", "CREATE TABLE dedupe_keys (key TEXT, conversion_id BIGINT NOT NULL)"],
            "dedupe_keys (key) is not unique",
        ),
        (
            ["DROP TABLE marks", "CREATE TABLE marks (reference TEXT, key TEXT, kind TEXT, status TEXT, minor TEXT,"
             " currency TEXT, at BIGINT, PRIMARY KEY (reference, key))"],
            "marks.minor is TEXT",
        ),
        (
            ["DROP TABLE counters", "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT, who TEXT NOT NULL)"],
            "counters.who must not be NULL, and this version does not know it",
        ),
    ],
)  # fmt: skip
def test_tables_that_differ_from_their_revision_are_named_and_refused(
    ledger: Ledger, statements: list[str], named: str
) -> None:
    check_schema(ledger)
    for statement in statements:
        change(ledger, statement)
    with pytest.raises(SchemaOutdated, match="not those of") as caught:
        check_schema(ledger)
    assert named in str(caught.value)
    with pytest.raises(SchemaOutdated, match="not those of"):
        upgrade(ledger)


def test_what_somebody_added_is_no_difference(ledger: Ledger) -> None:
    for statement in (
        "ALTER TABLE deliveries ADD COLUMN somebody_elses_note TEXT",
        "CREATE INDEX ix_of_ours ON deliveries (note)",
        "CREATE TABLE reports (id BIGINT PRIMARY KEY)",
    ):
        change(ledger, statement)
    check_schema(ledger)


def test_tables_of_another_program_are_told_apart(ledger: Ledger) -> None:
    change(ledger, "UPDATE alembic_version SET version_num = '3f2a91bc77de'")
    for check in (check_schema, upgrade):
        with pytest.raises(SchemaOutdated, match="another program's"):
            check(ledger)


def test_a_ledger_of_a_later_version_is_used_as_it_is_while_it_has_all_that_is_needed(ledger: Ledger) -> None:
    change(ledger, "UPDATE alembic_version SET version_num = '9998'")
    change(ledger, "ALTER TABLE workers ADD COLUMN later TEXT")
    check_schema(ledger)
    upgrade(ledger)
    assert current_revision(ledger) == "9998"
    change(ledger, "INSERT INTO counters (name, value) VALUES ('schema_floor', 9997)")
    with pytest.raises(SchemaOutdated, match="too old"):
        check_schema(ledger)
    change(ledger, "UPDATE counters SET value = 1 WHERE name = 'schema_floor'")
    check_schema(ledger)
    change(ledger, "ALTER TABLE workers DROP COLUMN pid_started")
    with pytest.raises(SchemaOutdated, match=r"workers\.pid_started is missing.*newer version"):
        check_schema(ledger)


def migrations(folder: Path, name: str, body: str) -> Path:
    """A copy of the migrations with one more, number 9000."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text((MIGRATIONS / "env.py").read_text("utf-8"))
    for path in (MIGRATIONS / "versions").glob("*.py"):
        (versions / path.name).write_text(path.read_text("utf-8"))
    head = f'import sqlalchemy as sa\nfrom alembic import op\n\nrevision = "9000"\ndown_revision = "{HEAD}"\n\n'
    (versions / f"9000_{name}.py").write_text(head + body)
    return folder / "migrations"


INDEX = """
from app.ledger.migrations.online import build_index, drop_index

def prepare(connection):
    build_index(connection, "ix_late", "events (source) WHERE outcome = 'parked'")
    drop_index(connection, "ix_deliveries_dead")

def upgrade():
    op.add_column("workers", sa.Column("later", sa.String(), nullable=True))
"""


def test_a_migration_adds_a_column_and_builds_an_index_outside_its_transaction(ledger: Ledger, tmp_path: Path) -> None:
    folder = migrations(tmp_path, "index", INDEX)
    upgrade(ledger, folder)
    upgrade(ledger, folder)
    assert current_revision(ledger) == "9000"
    check_schema(ledger)  # the version before goes on
    with ledger.read() as tx:
        from sqlalchemy import inspect

        assert "ix_late" in {index["name"] for index in inspect(tx.connection).get_indexes("events")}
        assert "ix_deliveries_dead" not in {index["name"] for index in inspect(tx.connection).get_indexes("deliveries")}
        assert "later" in {column["name"] for column in inspect(tx.connection).get_columns("workers")}


def shape(ledger: Ledger) -> dict[str, set[str]]:
    from sqlalchemy import inspect

    with ledger.read() as tx:
        inspector = inspect(tx.connection)
        found = {name: {c["name"] for c in inspector.get_columns(name)} for name in inspector.get_table_names()}
        for name in list(found):
            found[name] |= {str(index["name"]) for index in inspector.get_indexes(name)}
    return found


def test_the_last_step_is_taken_back_and_made_again(ledger: Ledger, tmp_path: Path) -> None:
    before = shape(ledger)
    body = INDEX + "    op.create_table('extra', sa.Column('id', sa.BigInteger(), primary_key=True))\n"
    folder = migrations(tmp_path, "index", body)
    upgrade(ledger, folder)
    after = shape(ledger)
    assert downgrade(ledger, folder) == HEAD
    assert (current_revision(ledger), shape(ledger)) == (HEAD, before)
    check_schema(ledger)
    with ledger.read() as tx:
        differences = compare_metadata(MigrationContext.configure(tx.connection), metadata)
    assert differences == [], "an index that was dropped is built again as it was"
    upgrade(ledger, folder)
    assert (current_revision(ledger), shape(ledger)) == ("9000", after)


@pytest.mark.parametrize(
    ("body", "spoil", "reason"),
    [
        (INDEX, "UPDATE workers SET later = 'x'", r"losing what is in workers\.later"),
        (
            INDEX,
            "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('h', 1, '1', 1, {now})",
            "a worker is running",
        ),
        ("def upgrade():\n    op.drop_column('workers', 'boot_id')\n", None, "removed something"),
        ('oldest_code = "9000"\n' + INDEX, None, "shuts older versions out"),
    ],
)
def test_a_step_is_not_taken_back_where_something_would_be_lost(
    ledger: Ledger, tmp_path: Path, body: str, spoil: str | None, reason: str
) -> None:
    change(
        ledger,
        "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at, stopped_at) VALUES ('h', 1, '1', 1, 1, 1)",
    )
    folder = migrations(tmp_path, "index", body)
    upgrade(ledger, folder)
    before = shape(ledger)
    if spoil:
        with ledger.read() as tx:
            now = tx.now()
        change(ledger, spoil.format(now=now))
    with pytest.raises(SchemaOutdated, match=reason):
        downgrade(ledger, folder)
    assert (current_revision(ledger), shape(ledger)) == ("9000", before)


def test_a_migration_that_shuts_old_code_out_is_refused_by_it(ledger: Ledger, tmp_path: Path) -> None:
    upgrade(ledger, migrations(tmp_path, "index", 'oldest_code = "9000"\n' + INDEX))
    with pytest.raises(SchemaOutdated, match=r"at 9000, and this version .* is too old for it: run the newer version"):
        check_schema(ledger)
    assert one(ledger, "SELECT version_num FROM alembic_version") == ("9000",), "version 0.1.0 reads this alone"


def test_what_was_not_upgraded_by_this_version_cannot_be_taken_back(ledger: Ledger) -> None:
    change(ledger, "UPDATE alembic_version SET version_num = '9998'")
    with pytest.raises(SchemaOutdated, match=r"at 9998, newer than this version"):
        downgrade(ledger)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_an_index_that_was_left_half_built_is_built_again(ledger: Ledger, tmp_path: Path) -> None:
    change(ledger, "CREATE INDEX ix_late ON events (source) WHERE outcome = 'parked'")
    change(ledger, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_late'::regclass")
    upgrade(ledger, migrations(tmp_path, "index", INDEX))
    assert one(ledger, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_late'::regclass") == (True,)


def test_a_migration_that_fails_leaves_the_revision_before_and_can_be_run_again(ledger: Ledger, tmp_path: Path) -> None:
    body = "def upgrade():\n    op.add_column('workers', sa.Column('later', sa.String()))\n    op.execute('SELECT 1/nothing')\n"
    folder = migrations(tmp_path, "fails", body)
    for _ in range(2):
        with pytest.raises(Exception, match="nothing"):
            upgrade(ledger, folder)
        assert current_revision(ledger) == HEAD
        check_schema(ledger)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_migration_may_take_longer_than_any_other_statement(ledger_url: str, tmp_path: Path) -> None:
    """The limit for other statements is lowered, so that this need not take as long as it is."""
    separator = "&" if "?" in ledger_url else "?"
    ledger = Ledger(f"{ledger_url}{separator}options=-c%20statement_timeout%3D200")
    with pytest.raises(Exception, match="statement timeout"):
        one(ledger, "SELECT pg_sleep(1)")
    upgrade(ledger, migrations(tmp_path, "slow", "def upgrade():\n    op.execute('SELECT pg_sleep(1)')\n"))
    assert current_revision(ledger) == "9000"
    ledger.close()


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_migration_gives_way_to_those_who_wait_and_comes_back(
    ledger: Ledger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "100ms")
    folder = migrations(
        tmp_path, "column", "def upgrade():\n    op.add_column('workers', sa.Column('later', sa.String()))\n"
    )
    done = threading.Thread(target=upgrade, args=(ledger, folder))
    other = Ledger(ledger_url)

    def refused(tx: Tx) -> bool:
        return bool(tx.run("SELECT 1 FROM pg_locks WHERE relation = 'workers'::regclass AND NOT granted").first())

    with other.write() as held:
        held.run("LOCK TABLE workers IN ACCESS SHARE MODE")
        done.start()
        wait_for(lambda: refused(held))
        wait_for(lambda: not refused(held))
        assert one(other, "SELECT COUNT(*) FROM workers") == (0,)
    done.join(PATIENCE_SECONDS)
    assert current_revision(ledger) == "9000"
    other.close()
