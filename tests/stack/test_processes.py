"""Processes of ours: they import nothing from the current folder, and none outlives the one that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from app.config.settings import Settings
from app.stack.processes import PARENT_VARIABLE, command, isolated, pid_started
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.stack_parts import Stack
from tests.support.up import Up

pytestmark = pytest.mark.stack
FOREIGN = 'raise SystemExit("foreign code ran")\n'


@pytest.mark.parametrize("module", ["app", "app.stack.run", "app.web.server.serve", "workers"])
def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, module: str) -> None:
    for name in ("app.py", "workers.py", "json.py", "flask.py", "granian.py", "sitecustomize.py"):
        (tmp_path / name).write_text(FOREIGN)
    done = subprocess.run(
        command(module, "--help"), env=isolated(os.environ), cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert "foreign code" not in done.stderr
    if module in ("app", "workers"):
        assert "Usage" in done.stdout


def test_bridge_up_in_a_folder_with_an_app_and_workers_of_somebody_else_runs_ours(make_up: Callable[..., Up]) -> None:
    up = make_up()
    for name in ("app.py", "workers/__init__.py", "workers/__main__.py", "granian.py", "structlog.py"):
        path = up.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FOREIGN)
    up.command = [str(Path(sys.executable).with_name("bridge"))]
    up.start()
    assert "foreign code" not in up.said()
    assert up.ended() is None
    assert "sale" in up.bridge("send", "stripe")
    wait_for(lambda: up.statuses() == ["delivered"])


@pytest.mark.parametrize("module", ["app.web.server.serve", "workers"])
def test_a_process_whose_parent_was_killed_before_it_looked_ends_at_once(module: str) -> None:
    gone_parent = subprocess.Popen(["true"])
    gone_parent.wait()
    arguments = ["127.0.0.1", "9", "1", "json"] if module == "app.web.server.serve" else []
    environment = isolated(os.environ, parent=gone_parent.pid)
    done = subprocess.run(command(module, *arguments), env=environment, timeout=100, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_web_whose_parent_is_killed_while_it_starts_leaves_no_orphan(make_stack: Callable[..., Stack]) -> None:
    """The child is held still from its first moment, so that the parent is gone before it can look."""
    stack = make_stack()
    web = stack.start("web", wait=False)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := children(web.pid)) and time.monotonic() < deadline:
        pass
    (child,) = found
    os.kill(child, signal.SIGSTOP)
    started = pid_started(child)
    web.kill()
    web.wait()
    stack.processes.remove(web)
    os.kill(child, signal.SIGCONT)
    wait_for(lambda: pid_started(child) != started)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{stack.url}/healthz", timeout=5)


def test_a_wsgi_server_s_process_does_not_end_with_the_shell_that_launched_it(
    make_settings: Callable[..., Settings], ledger_url: str, tmp_path: Path
) -> None:
    make_settings(DATABASE_URL=ledger_url)
    assert PARENT_VARIABLE not in os.environ
    code = "import time, os; from app.web.factory import wsgi; wsgi(); print(os.getpid(), flush=True); time.sleep(100)"
    script = f'{sys.executable} -P -c "{code}" & sleep 0.1'
    with (tmp_path / "pid").open("w") as output:
        subprocess.run(["bash", "-c", script], stdout=output, check=True, timeout=100)
    wait_for(lambda: (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    started = pid_started(pid)
    time.sleep(3)  # it looked twice a second
    assert started
    assert pid_started(pid) == started
    os.kill(pid, signal.SIGKILL)
