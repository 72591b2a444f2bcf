"""Space that removed rows leave returns to the file system, on PostgreSQL too, and no row changes by it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, event, make_url

from app.cli import main
from app.config.settings import Settings
from app.ledger.actions.retention import Pace
from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from app.ledger.upkeep import bloat, compaction
from app.ledger.upkeep.space import estimate_space, release_space
from tests.conftest import wait_for
from tests.support.makers import change, one

POSTGRESQL = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
ROOT = Path(__file__).parents[2]
ROWS = 3_000
INSERT = """
    INSERT INTO events (id, event_key, source, event_id, event_type, outcome, reason, received_at, last_received_at, headers, body)
    SELECT i, 'stripe:evt_' || md5(i::text), 'stripe', 'evt_' || i, 'charge.succeeded', 'ignored', 'because', i, i, '{}',
           (SELECT string_agg(sha256((i || '/' || j)::bytea), ''::bytea) FROM generate_series(1, %s / 32) AS j)
    FROM generate_series(1, %s) AS i
"""  # SHA-256 does not compress
NEW = """
    INSERT INTO events (id, event_key, source, event_id, event_type, outcome, reason, received_at, last_received_at, headers, body)
    VALUES (?, ?, 'stripe', 'new', 'new', 'ignored', 'new', 1, 1, '{}', 'new')
"""
CONTENTS = """
    SELECT count(*), md5(string_agg(md5(concat_ws('|', id, event_key, outcome, received_at, headers, body)), '' ORDER BY id))
    FROM events WHERE reason = 'because'
"""
LEFT_BEHIND = """
    SELECT (SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
            WHERE locktype = 'advisory' AND datname = current_database())
         + (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL)
"""
BYTES = """
    SELECT (pg_relation_size(oid) + pg_relation_size(reltoastrelid))::int FROM pg_class WHERE oid = 'events'::regclass
"""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small ledger is worth the work."""
    monkeypatch.setattr(bloat, "LEAST_BYTES", 200_000)
    monkeypatch.setattr(bloat, "LEAST_INDEX_BYTES", 50_000)


@pytest.fixture(scope="module")
def plain(postgres: str) -> Iterator[Ledger]:
    """A ledger whose database user owns it and may nothing else."""
    server = Ledger(postgres)
    with server.autocommit() as connection:
        for statement in ("CREATE ROLE plain LOGIN", "CREATE DATABASE compaction OWNER plain"):
            connection.exec_driver_sql(statement)
    ledger = Ledger(make_url(postgres).set(database="compaction", username="plain").render_as_string())
    upgrade(ledger)
    yield ledger
    ledger.close()
    with server.autocommit() as connection:
        for statement in ("DROP DATABASE compaction WITH (FORCE)", "DROP ROLE plain"):
            connection.exec_driver_sql(statement)
    server.close()


def fill(ledger: Ledger, body_bytes: int, keep: str, rows: int = ROWS) -> None:
    """Events of which all were removed but those that `keep` names."""
    with ledger.write() as tx:
        tx.connection.exec_driver_sql("TRUNCATE events")
        tx.connection.exec_driver_sql(INSERT, (body_bytes, rows))
    change(ledger, f"DELETE FROM events WHERE NOT ({keep})")


@pytest.mark.parametrize(
    ("body_bytes", "rows", "keep"),
    [
        (900, ROWS, "id > 1800"),
        (2600, ROWS, "md5(id::text) < '7'"),
        (100_000, 60, "id > 35"),
        (32, 20_000, "id % 100 > 60"),
    ],
    ids=["in-line", "out-of-line", "large", "small"],
)
def test_a_table_shrinks_while_others_write_and_no_row_changes(
    plain: Ledger, body_bytes: int, rows: int, keep: str
) -> None:
    fill(plain, body_bytes, keep, rows)
    before, contents = one(plain, BYTES)[0], one(plain, CONTENTS)
    with plain.read() as tx:
        last = list(tx.run("SELECT id FROM events ORDER BY id DESC LIMIT 20").scalars())
    is_over = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not is_over.is_set():
            number = last[0] + 1 + len(written)
            with plain.write() as tx:
                tx.run("UPDATE events SET received_count = received_count + 1 WHERE id = ?", last[len(written) % 20])
                tx.run(NEW, number, str(number))
            written.append(number)
            is_over.wait(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for(lambda: written)
        released = release_space(plain)
    finally:
        is_over.set()
        writer.join()
    assert released.freed_bytes > 0
    release_space(plain)  # what the writer left
    assert one(plain, BYTES)[0] < before * 0.7
    assert one(plain, CONTENTS) == contents
    assert one(plain, "SELECT sum(received_count - 1) FROM events") == (len(written),)
    by_index = one(
        plain, "SELECT count(*) FROM (SELECT event_key FROM events WHERE event_key > '' ORDER BY event_key) n"
    )
    assert by_index == (contents[0] + len(written),)


@POSTGRESQL
def test_killed_in_the_middle_of_a_move_it_loses_nothing_and_goes_on(ledger: Ledger, ledger_url: str) -> None:
    fill(ledger, 900, "id > 1800")
    before, contents = one(ledger, BYTES)[0], one(ledger, CONTENTS)
    program = f"""
import os, signal
from sqlalchemy import event
from app.ledger.engine import Ledger
from app.ledger.upkeep import bloat, compaction
from app.ledger.upkeep.space import release_space
bloat.LEAST_BYTES = 200_000
ledger, seen = Ledger({ledger_url!r}), []
@event.listens_for(ledger.engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    seen.append(statement.startswith("UPDATE events SET id = id"))
    if sum(seen) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
release_space(ledger)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    wait_for(lambda: one(ledger, LEFT_BEHIND) == (0,))
    assert one(ledger, CONTENTS) == contents
    assert release_space(ledger).freed_bytes > before * 0.3
    assert one(ledger, CONTENTS) == contents


@POSTGRESQL
def test_whoever_still_reads_what_was_removed_is_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PATIENCE_SECONDS", 0.0)
    fill(ledger, 900, "id > 1800")
    with ledger.snapshot() as reading:
        pid = reading.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        released = release_space(ledger)
    assert (released.freed_bytes, len(released.notes)) == (0, 1)
    assert f"process {pid} (conversion-bridge" in released.notes[0]


@POSTGRESQL
def test_a_second_one_leaves_the_work_to_the_first(ledger: Ledger) -> None:
    fill(ledger, 900, "id > 1800")
    before = one(ledger, BYTES)
    with ledger.write() as tx:
        tx.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({compaction.LOCK})")
        assert release_space(ledger).notes == (compaction.BUSY,)
    assert one(ledger, BYTES) == before


@POSTGRESQL
def test_it_stops_when_asked_and_where_it_cannot_work_it_says_why(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, 900, "id > 1800")
    before = one(ledger, BYTES)
    release_space(ledger, Pace(is_stopping=lambda: True))
    release_space(ledger, seconds=0)
    assert one(ledger, BYTES) == before
    pooled = Ledger(f"{ledger_url}{'&' if '?' in ledger_url else '?'}pgbouncer=true")
    assert release_space(pooled).notes == (compaction.POOLED,)
    pooled.close()
    monkeypatch.setattr(compaction, "LEAST_VERSION", 10_000_000)
    assert release_space(ledger).notes == (compaction.TOO_OLD,)
    assert one(ledger, BYTES) == before


@POSTGRESQL
def test_sigterm_ends_the_command_and_changes_no_row(
    make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str
) -> None:
    make_settings(DATABASE_URL=ledger_url)
    fill(ledger, 900, "id > 1800")
    contents = one(ledger, CONTENTS)

    def stop(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE events SET id = id"):
            os.kill(os.getpid(), signal.SIGTERM)

    event.listen(Engine, "before_cursor_execute", stop)
    try:
        stopped = CliRunner().invoke(main, ["db", "compact"])
    finally:
        event.remove(Engine, "before_cursor_execute", stop)
    assert stopped.exit_code == 1
    assert "interrupted. The ledger is intact" in stopped.output
    assert one(ledger, CONTENTS) == contents


@POSTGRESQL
def test_swollen_indexes_are_rebuilt_and_unfinished_ones_removed(ledger: Ledger) -> None:
    fill(ledger, 32, "id % 100 > 60", 20_000)
    change(ledger, "CREATE INDEX ix_events_source_ccnew ON events (source, id)")
    change(ledger, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_events_source_ccnew'::regclass")
    indexes = (
        "SELECT count(*), sum(pg_relation_size(indexrelid))::int FROM pg_index WHERE indrelid = 'events'::regclass"
    )
    count, before = one(ledger, indexes)
    release_space(ledger)
    after, size = one(ledger, indexes)
    assert after == count - 1
    assert size < before * 0.6
    assert one(ledger, "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'events'::regclass") == (True,)
    assert estimate_space(ledger) == []


def test_the_command_says_what_is_free_and_returns_it(
    make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str
) -> None:
    make_settings(DATABASE_URL=ledger_url)
    nothing = CliRunner().invoke(main, ["db", "compact", "--dry-run"])
    assert (nothing.exit_code, nothing.output) == (0, "There is not enough free space to be worth returning.\n")
    with ledger.write() as tx:
        for number in range(1, 3_001):
            tx.run(NEW.replace("'{}', 'new'", "?, 'new'"), number, str(number), "{}" + " " * 800)
    change(ledger, "DELETE FROM events WHERE id < 2000")
    shown = CliRunner().invoke(main, ["db", "compact", "--dry-run"])
    name = "the ledger's file" if ledger.is_sqlite else "events"
    assert shown.output.startswith(f"{name}: about "), shown.output
    done = CliRunner().invoke(main, ["db", "compact"])
    assert done.exit_code == 0
    assert "MB were returned to the file system." in done.output
    assert one(ledger, "SELECT count(*), min(id) FROM events") == (1001, 2000)
    again = CliRunner().invoke(main, ["db", "compact", "--dry-run"])
    assert again.output == nothing.output
