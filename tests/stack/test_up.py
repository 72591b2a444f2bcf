"""`bridge up`: the whole stack out of one command, wherever it is started, however the last run ended."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.stack.processes import pid_started
from app.stack.supervisor import PIDS_FILE
from tests.conftest import PATIENCE_SECONDS, PYTHON, wait_for
from tests.support.diagnosis import LOGS
from tests.support.ports import quiet_port

pytestmark = pytest.mark.stack
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

    def start(self) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "app", "up"],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if self.log not in LOGS:
            LOGS.append(self.log)
        wait_for(lambda: "Ctrl-C stops everything." in self.said() or self.ended() is not None)

    def ended(self) -> int | None:
        return self.process.poll() if self.process else None

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def bridge(self, *arguments: str, status: int = 0) -> str:
        """Another command's output, in the same environment."""
        done = subprocess.run(
            [PYTHON, "-m", "app", *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

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


@pytest.fixture
def make_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def make(folder: str = "plain", home: str = "var") -> Up:
        up = Up(tmp_path / folder, tmp_path / folder / home)
        made.append(up)
        return up

    yield make
    for up in made:
        up.close()


def gone(parts: list[tuple[int, str]]) -> bool:
    return all(pid_started(pid) != started for pid, started in parts)


@pytest.mark.parametrize("folder", ["50%25 of #1? ü's", "x" * 120])
def test_what_is_sent_arrives_once_wherever_the_folder_lies(make_up, folder):
    up = make_up(folder)
    up.start()
    sent = up.bridge("send", "stripe", "--duplicate", "3") + up.bridge("send", "typeform", "--duplicate", "3")
    assert [line.split()[3].strip(":") for line in sent.splitlines()] == (
        ["sale", "duplicate", "duplicate", "lead", "duplicate", "duplicate"]
    )
    wait_for(lambda: [d["status"] for d in up.deliveries()] == ["delivered"] * 2)
    assert "Traceback" not in up.said()
    assert "part.died" not in up.said()
    assert (up.home / "ledger.db").stat().st_size
    parts = up.parts()
    assert len(parts) == 4  # Valkey, web, worker, and what watches over them
    assert up.interrupt() == 0
    assert gone(parts)
    up.start()
    assert len(up.deliveries()) == 2, "a second start goes on where the first stopped"
    up.bridge("doctor")


def test_after_a_sigkill_the_next_start_replaces_what_was_left(make_up):
    up = make_up()
    up.start()
    valkey = up.parts()[0]
    up.process.kill()
    up.process.wait()
    time.sleep(0.5)
    assert not gone([valkey]), "nothing told it to end"
    up.start()
    assert "that an earlier run had left behind" in up.said()
    assert gone([valkey])
    up.bridge("send", "stripe")
    wait_for(lambda: [d["status"] for d in up.deliveries()] == ["delivered"])
