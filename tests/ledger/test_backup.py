"""Backup, restore and copy: nothing is lost by count, and what is sent twice was announced."""

import json
import os
import stat
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import resume
from app.ledger.forwarding.sweep import expired_claims
from app.ledger.schema import HEAD
from app.ledger.upkeep.backup import back_up, restore
from app.ledger.upkeep.copy import copy_ledger, tables_to_copy
from app.web.factory import create_app
from tests.conftest import FakeDestination, wait_for
from tests.support.makers import begin, change, checkout, count, one, settle, signed
from tests.support.released_ledgers import load
from workers.forward import Forwarder

Bridge = Callable[..., Result]
CROSSED = pytest.mark.parametrize(
    ("ledger_url", "empty_url"), [("sqlite", "postgresql"), ("postgresql", "sqlite")], indirect=True
)


@pytest.fixture
def settings(make_settings: Callable[..., Settings], destination: FakeDestination) -> Settings:
    return make_settings(
        DESTINATION_URL=destination.url,
        DESTINATION_TOKEN="token-of-the-tests",
        DESTINATION_ALLOW_PRIVATE="1",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )


def post(app: Any, number: int) -> str:
    answer = app.test_client().post("/webhooks/stripe", **signed(checkout(number)))
    assert answer.status_code == 200
    return str(answer.json["outcome"])


def forward(ledger: Ledger, settings: Settings) -> None:
    forwarder = Forwarder(ledger, destinations_of(settings), settings.schedule_seconds, 900, threading.Event())
    forwarder.worker_id = 1
    forwarder.begin()
    wait_for(lambda: forwarder.run(lambda: None) == 0)
    forwarder.close()


def stop(app: Any) -> None:
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()


def contents(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables that are copied; the last id, which only SQLite keeps in one, left out."""
    with ledger.read() as tx:
        found = {t.name: [tuple(row) for row in tx.connection.execute(t.select()).all()] for t in tables_to_copy()}
    found["counters"] = [row for row in found["counters"] if row[0] != "ids"]
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


@CROSSED
def test_a_backup_under_load_is_restored_elsewhere_and_nothing_is_lost(
    ledger: Ledger, empty: Ledger, settings: Settings, destination: FakeDestination, tmp_path: Path
) -> None:
    app, number, before_backup = create_app(settings, ledger), 0, 40
    for number in range(before_backup):
        post(app, number)
        if number == before_backup // 2:
            forward(ledger, settings)
    sent_before = len(destination.requests)
    posted, over = list(range(before_backup)), threading.Event()

    def load_on() -> None:
        while not over.is_set():
            post(app, posted[-1] + 1)
            posted.append(posted[-1] + 1)

    loader = threading.Thread(target=load_on)
    loader.start()
    wait_for(lambda: len(posted) > before_backup)
    file = tmp_path / "bridge.backup"
    backup = back_up(ledger, file, {"SECRET_KEY": "secret"}, "1.2.3")
    at_end = len(posted)
    wait_for(lambda: len(posted) > at_end)
    over.set()
    loader.join()
    forward(ledger, settings)  # the old place goes on and delivers all it has
    stop(app)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path).count(file.name) == 1
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".bridge")]
    assert before_backup < backup.events <= at_end + 1
    assert backup.open == backup.deliveries - sent_before > 0

    restored = restore(empty, file, ["main", "later"])
    assert (restored.backup, restored.secrets) == (backup, {"SECRET_KEY": "secret"})
    assert restored.paused == ("later", "main")
    for table in ("conversions", "deliveries"):
        assert count(empty, table) == backup.events
    orphans = "SELECT COUNT(*) FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id)"
    assert one(empty, orphans) == (0,)
    sent = len(destination.requests)
    forward(empty, settings)
    assert len(destination.requests) == sent, "every destination is paused"

    app = create_app(settings, empty)
    outcomes = Counter(post(app, each) for each in posted)  # what a backfill does
    assert outcomes == {"duplicate": backup.events, "sale": len(posted) - backup.events}
    with empty.write() as tx:
        assert resume(tx, "main", actor="test")
    forward(empty, settings)
    stop(app)
    times = Counter(payload["invoiceId"] for payload in destination.payloads)
    assert set(times) == {f"pi_{each}" for each in posted}
    twice = {invoice for invoice, many in times.items() if many == 2}
    assert max(times.values()) == 2
    came_later = {f"pi_{each}" for each in posted} - {f"pi_{each}" for each in range(backup.events)}
    assert len(twice - came_later) == backup.open, "what was open in the backup"
    keys = {request["headers"]["idempotency-key"] for request in destination.requests}
    assert len(keys) == len(posted), "each under the same key"


@CROSSED
def test_a_copy_holds_every_row_and_goes_on_with_new_ids(
    ledger: Ledger, empty: Ledger, settings: Settings, destination: FakeDestination
) -> None:
    app = create_app(settings, ledger)
    for number in range(5):
        post(app, number)
    settle(ledger, "permanent", status=422, destination="main")
    change(ledger, "UPDATE events SET reason = ? WHERE id = (SELECT MIN(id) FROM events)", 'tab\t"quoted" \\ \n line ö')
    stop(app)
    shown: list[tuple[str, int, int]] = []
    counts = copy_ledger(ledger, empty, lambda *line: shown.append(line))
    assert contents(empty) == contents(ledger)
    assert ("events", 5, 5) in shown
    assert counts["attempts"] == count(ledger, "attempts") == 5
    app = create_app(settings, empty)
    assert post(app, 4) == "duplicate"
    assert post(app, 5) == "sale"
    change(empty, "INSERT INTO audit (at, actor, action, subject, detail) VALUES (1, 'a', 'b', 'c', '')")
    stop(app)
    newest = one(ledger, "SELECT MAX(id) FROM deliveries")[0]
    assert one(empty, "SELECT MAX(id) FROM events")[0] > newest
    with pytest.raises(Exception, match="not empty"):
        copy_ledger(ledger, empty)


@CROSSED
def test_what_was_being_sent_is_taken_over_at_once_in_the_copy(
    ledger: Ledger, empty: Ledger, settings: Settings
) -> None:
    app = create_app(settings, ledger)
    post(app, 1)
    stop(app)
    (claimed,) = begin(ledger, "main")
    copy_ledger(ledger, empty)
    with empty.read() as tx:
        assert [identity for identity, *_ in expired_claims(tx, tx.now())] == [claimed.id]
    with ledger.read() as tx:
        assert expired_claims(tx, tx.now()) == [], "its worker may still send it there"


@pytest.mark.parametrize("rows", ["events", "audit", "strange"])
def test_a_target_that_is_not_empty_is_left_as_it_is(
    ledger: Ledger, ledger_url: str, bridge: Bridge, tmp_path: Path, rows: str
) -> None:
    source = f"sqlite:///{tmp_path / 'source.db'}"
    assert bridge("db", "upgrade", DATABASE_URL=source).exit_code == 0
    if rows == "events":
        load_url = f"sqlite:///{tmp_path / 'released.db'}"
        load("0001", load_url)
        copy_ledger(upgraded(load_url), ledger)
    elif rows == "audit":
        change(ledger, "INSERT INTO audit (at, actor, action, subject, detail) VALUES (1, 'a', 'b', 'c', '')")
    else:
        change(ledger, "DROP TABLE alembic_version")
    before = contents(ledger)
    done = bridge("db", "copy", "--to", ledger_url, DATABASE_URL=source)
    assert (done.exit_code, done.stdout) == (1, "")
    assert ("another program" if rows == "strange" else "not empty") in done.stderr
    assert contents(ledger) == before


def upgraded(url: str) -> Ledger:
    from app.ledger.schema import upgrade

    ledger = Ledger(url)
    upgrade(ledger)
    return ledger


def test_the_commands_say_what_they_did_and_what_is_next(
    ledger: Ledger, ledger_url: str, bridge: Bridge, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "b"
    load_url = f"sqlite:///{tmp_path / 'released.db'}"
    load("0001", load_url)
    upgraded(load_url).close()
    copied = bridge("db", "copy", "--to", ledger_url, DATABASE_URL=load_url)
    assert (copied.exit_code, "Copied 8 events, 5 deliveries" in copied.stdout) == (0, True), copied.output
    old.mkdir()
    (old / "secrets.json").write_text(json.dumps({"SECRET_KEY": "a secret key of sixteen"}))
    assert bridge("backup", str(file), DATABASE_URL=ledger_url, BRIDGE_HOME=str(old)).exit_code == 0
    again = bridge("backup", str(file), DATABASE_URL=ledger_url, BRIDGE_HOME=str(old))
    assert "8 events and 5 deliveries (2 open)" in again.stdout
    new.mkdir()
    (new / "secrets.json").write_text(json.dumps({"SECRET_KEY": "another key of sixteen."}))
    done = bridge("restore", str(file), BRIDGE_HOME=str(new), DATABASE_URL="", SECRET_KEY="")
    assert done.exit_code == 0, done.output
    for words in (
        "Restored 8 events and 5 deliveries",
        "Every destination is paused: main, sandbox.",
        "2 deliveries are open",
        "bridge backfill stripe --since 20",
        "bridge resume main",
    ):
        assert words in done.stdout
    assert json.loads((new / "secrets.json").read_text()) == {"SECRET_KEY": "a secret key of sixteen"}
    assert "another" in (new / "secrets.before-restore").read_text()
    assert stat.S_IMODE((new / "secrets.json").stat().st_mode) == 0o600
    target = Ledger(f"sqlite:///{new / 'ledger.db'}")
    assert one(target, "SELECT COUNT(*) FROM destinations WHERE paused_at IS NULL") == (0,)
    shown = bridge("status", BRIDGE_HOME=str(new), DATABASE_URL="", SECRET_KEY="").stdout
    assert "Forwarding to sandbox is paused: restored from the backup of 20" in shown
    before = contents(target)
    refused = bridge("restore", str(file), BRIDGE_HOME=str(new), DATABASE_URL="")
    assert (refused.exit_code, "not empty: its table events" in refused.stderr) == (1, True)
    assert contents(target) == before
    target.close()


def test_what_is_no_backup_and_what_is_half_of_one_is_refused(
    bridge: Bridge, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    source = f"sqlite:///{tmp_path / 'source.db'}"
    assert bridge("db", "upgrade", DATABASE_URL=source).exit_code == 0
    target = f"sqlite:///{tmp_path / 'target.db'}"
    note, half, newer = tmp_path / "notes.txt", tmp_path / "half", tmp_path / "newer"
    note.write_text("mine")
    refused = bridge("backup", str(note), DATABASE_URL=source)
    assert (refused.exit_code, "is not a backup" in refused.stderr, note.read_text()) == (1, True, "mine")
    assert bridge("backup", str(half), DATABASE_URL=source).exit_code == 0
    with tarfile.open(half) as archive:
        archive.extractall(tmp_path / "parts", filter="data")
    manifest = tmp_path / "parts" / "backup.json"
    manifest.write_text(manifest.read_text().replace(f'"{HEAD}"', '"9999"'))
    with tarfile.open(newer, "w:gz") as archive:
        for name in ("backup.json", "ledger.db"):
            archive.add(tmp_path / "parts" / name, name)
    half.write_bytes(half.read_bytes()[:-2000])
    for file, words in (
        (half, "is damaged"),
        (note, "is not a backup"),
        (newer, "has a newer schema (9999)"),
        (tmp_path, "not a file"),
    ):
        done = bridge("restore", str(file), DATABASE_URL=target)
        assert (done.exit_code, words in done.stderr) == (1, True), done.output
    gone = bridge("restore", str(tmp_path / "nowhere"), DATABASE_URL=target)
    assert (gone.exit_code, "does not exist" in gone.stderr) == (1, True)


def test_a_copy_that_has_no_room_is_not_reported_as_a_ledger_that_fails(
    ledger: Ledger, ledger_url: str, bridge: Bridge, tmp_path: Path
) -> None:
    environment = {**os.environ, "DATABASE_URL": ledger_url}
    file = tmp_path / "backup"
    command = f"ulimit -f 64; exec {sys.executable} -m app backup {file}"  # blocks of 1 KB
    full = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert (full.returncode, list(tmp_path.glob("*backup*"))) == (1, [])
    assert f"bridge: {file} was not written: " in full.stderr
    elsewhere = bridge("db", "copy", "--to", f"sqlite:///{tmp_path}/nowhere/copy.db", DATABASE_URL=ledger_url)
    assert elsewhere.exit_code == 1
    assert elsewhere.stderr.endswith("bridge: the target cannot be used: unable to open database file\n")


def test_a_running_bridge_is_not_restored_into(ledger: Ledger, ledger_url: str, bridge: Bridge, tmp_path: Path) -> None:
    file = str(tmp_path / "b")
    assert bridge("backup", file, DATABASE_URL=ledger_url).exit_code == 0
    with ledger.write() as tx:
        columns = "host, pid, pid_started, started_at, heartbeat_at"
        tx.run(f"INSERT INTO workers ({columns}) VALUES ('h', 1, '1', ?, ?)", tx.now(), tx.now())
    done = bridge("restore", file, DATABASE_URL=ledger_url)
    assert (done.exit_code, "a worker is running" in done.stderr) == (1, True)
