"""BRIDGE_HOME of a `bridge up`: one at a time, files for its owner alone, a run file, and a full disk that ends nothing."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from app.errors import ConfigurationError
from app.stack.home import (
    LOCK_FILE,
    PIDS_FILE,
    RUN_FILE,
    describe_run,
    end_leftovers,
    keep_private,
    lock_home,
    read_running,
    replace_file,
    write_run_file,
)
from app.stack.home import as_json as run_as_json
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.up import Up, gone


def modes(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*")}


def test_a_lock_lasts_as_long_as_the_process_that_took_it(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from app.stack.home import lock_home; lock_home(pathlib.Path(sys.argv[1]));"
        "print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ConfigurationError, match="`bridge up` is already running on"):
            lock_home(tmp_path)
        other.kill()
        other.wait()
    lock = lock_home(tmp_path)
    assert lock is not None
    os.close(lock)


def test_a_run_file_counts_only_while_its_process_lives(tmp_path: Path) -> None:
    assert read_running(tmp_path) is None
    running = describe_run("http://127.0.0.1:8123", "1", {"PORT": "1", "TOKEN": "secret"}, is_sandbox=True)
    write_run_file(tmp_path, run_as_json(running))
    assert read_running(tmp_path) == running
    assert "secret" not in (tmp_path / RUN_FILE).read_text()
    write_run_file(tmp_path, {**run_as_json(running), "started": "of another process"})
    assert read_running(tmp_path) is None
    for content in ("", "[]", "{}", '{"pid": 1}', "\0"):
        (tmp_path / RUN_FILE).write_text(content)
        assert read_running(tmp_path) is None


def test_differences_are_named_whichever_side_has_the_setting() -> None:
    running = describe_run("", "", {"same": "1", "changed": "1", "gone": "1"}, is_sandbox=True)
    assert running.differences({"same": "1", "changed": "2", "new": "1"}) == ["changed", "gone", "new"]


def test_files_that_everybody_could_read_are_closed_and_a_group_keeps_its_rights(tmp_path: Path) -> None:
    for name, mode in {"ledger.db": 0o644, "secrets.json": 0o600, "ledger.db-wal": 0o664, "mine.txt": 0o644}.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    keep_private(tmp_path)
    assert modes(tmp_path) == {
        "ledger.db": 0o640,
        "secrets.json": 0o600,
        "ledger.db-wal": 0o660,
        "mine.txt": 0o644,
    }


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "one")
    (tmp_path / "state.json.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, "two")
    assert path.read_text() == "one"
    assert end_leftovers(tmp_path, 5) == 0


@pytest.mark.stack
def test_of_two_starts_on_one_home_at_one_moment_one_runs_and_the_other_says_so(make_up: Callable[..., Up]) -> None:
    first, second = make_up(), make_up("other")
    second.home, second.environment["BRIDGE_HOME"] = first.home, str(first.home)
    for up in (first, second):
        up.begin()
    wait_for(lambda: None in (first.ended(), second.ended()) and 1 in (first.ended(), second.ended()))
    winner, loser = (first, second) if second.ended() == 1 else (second, first)
    wait_for(lambda: "Ctrl-C stops everything." in winner.said())
    lines = loser.said().splitlines()
    assert len(lines) == 1, lines
    assert "`bridge up` is already running on" in lines[0]
    assert requests.get(f"http://127.0.0.1:{winner.port}/healthz", timeout=PATIENCE_SECONDS).ok
    parts = winner.parts()
    assert winner.interrupt() == 0
    assert gone(parts)
    assert not {RUN_FILE, PIDS_FILE} & set(modes(winner.home))


@pytest.mark.stack
def test_in_a_home_that_was_there_before_every_file_is_its_owner_s_alone(make_up: Callable[..., Up]) -> None:
    up = make_up()
    up.home.mkdir()
    up.home.chmod(0o755)
    up.umask = 0o000
    up.start()
    up.bridge("send", "stripe")
    wait_for(lambda: [d["status"] for d in up.deliveries()] == ["delivered"])
    assert stat.S_IMODE(up.home.stat().st_mode) == 0o755, "whose it is remains its owner's choice"
    open_to_others = {name: oct(mode) for name, mode in modes(up.home).items() if mode & 0o077}
    assert open_to_others == {}
    assert {LOCK_FILE, PIDS_FILE, RUN_FILE, "ledger.db", "ledger.db-wal", "secrets.json"} <= set(modes(up.home))


@pytest.mark.stack
def test_a_part_that_dies_while_the_home_is_full_comes_back(make_up: Callable[..., Up]) -> None:
    up = make_up()
    up.start()
    for name in (PIDS_FILE, RUN_FILE):
        (up.home / f"{name}.new").symlink_to("/dev/full")
    before = up.parts()
    web = before[1]
    os.kill(web[0], 9)
    wait_for(lambda: "part.died" in up.said() and "home.unwritable" in up.said())
    wait_for(lambda: gone([web]))
    assert up.ended() is None
    assert up.parts() == before, "the file could not be written"
    for name in (PIDS_FILE, RUN_FILE):
        (up.home / f"{name}.new").unlink()
    wait_for(lambda: up.parts() != before and not gone([up.parts()[1]]))
    assert "Traceback" not in up.said()
    wait_for(lambda: up.said().count('"role":"web",') == 2 and up.answers())
    up.bridge("send", "stripe")
