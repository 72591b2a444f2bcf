"""`bridge up` on a home of its own, as somebody would start it in a terminal, and the other commands beside it."""

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import requests

from app.stack.home import PIDS_FILE
from app.stack.processes import pid_started
from tests.conftest import PATIENCE_SECONDS, PYTHON, wait_for
from tests.support.diagnosis import LOGS
from tests.support.ports import listens, quiet_port
from tests.support.reaper import guard_process

ROOT = Path(__file__).parents[2]


class Up:
    """`bridge up` on a home of its own, as somebody would start it in a terminal, and the other commands beside it."""

    def __init__(self, folder: Path, home: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = quiet_port()
        self.home = home
        self.folder = folder
        self.log = folder / "up.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            **os.environ,
            "BRIDGE_HOME": str(home),
            "PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
            "STRIPE_HOLD": "0",
        }
        self.umask = 0o022
        self.command = [PYTHON, "-m", "app"]

    def begin(self) -> "subprocess.Popen[bytes]":
        """Starts it, and does not wait."""
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*self.command, "up"],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=self.umask,
            )
        guard_process(self.process.pid)
        if self.log not in LOGS:
            LOGS.append(self.log)
        return self.process

    def start(self) -> None:
        self.begin()
        wait_for(lambda: "Ctrl-C stops everything." in self.said() or self.ended() is not None)

    def ended(self) -> int | None:
        return self.process.poll() if self.process else None

    def answers(self) -> bool:
        """Whether the web answers: a part that was started again takes a moment before it does."""
        try:
            return listens(self.port) and requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=10).ok
        except requests.ConnectionError:
            return False

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def bridge(self, *arguments: str, status: int = 0) -> str:
        """Another command's output, in the same environment."""
        done = subprocess.run(
            [*self.command, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def doctor(self) -> str:
        """What doctor says, whether it is content or not."""
        command = [*self.command, "doctor"]
        return subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, text=True).stdout

    def statuses(self) -> list[str]:
        """Those of its deliveries, from its ledger: to wait for them with a command would start a process for each look."""
        with closing(sqlite3.connect(self.home / "ledger.db", timeout=PATIENCE_SECONDS)) as ledger:
            return [status for (status,) in ledger.execute("SELECT status FROM deliveries ORDER BY id")]

    def deliveries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.bridge("deliveries", "--json").splitlines()]

    def parts(self) -> list[tuple[int, str]]:
        """What runs, each process by its pid and start."""
        return [(pid, started) for pid, started in json.loads((self.home / PIDS_FILE).read_text(encoding="utf-8"))]

    def interrupt(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_SECONDS)
        if self.log in LOGS:
            LOGS.remove(self.log)


def gone(parts: list[tuple[int, str]]) -> bool:
    return all(pid_started(pid) != started for pid, started in parts)
