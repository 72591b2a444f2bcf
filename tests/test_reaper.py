"""Tests that are killed leave no server and no process behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from signal import Signals

import pytest

from app.stack.processes import pid_started
from tests.conftest import wait_for

ROOT = Path(__file__).parents[1]
TESTS = """
import subprocess, sys, time
from tests.support.postgres import Postgres
from tests.support.reaper import guard_process
server = Postgres("bridge-reaped-")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
guard_process(child.pid)
print(server.folder, child.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_postgresql_and_no_process(number: Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", TESTS], env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        folder, pid = run.stdout.readline().split()
        postmaster = int((Path(folder) / "postmaster.pid").read_text().split()[0])
        started = {one: pid_started(one) for one in (postmaster, int(pid))}
        assert all(started.values())
        run.send_signal(number)
    for one, moment in started.items():
        wait_for(lambda one=one, moment=moment: pid_started(one) != moment)  # type: ignore[misc]
    wait_for(lambda: not Path(folder).exists())
