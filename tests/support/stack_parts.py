"""Real processes for tests: web and workers as a Procfile would start them, on a ledger and a Valkey of the test."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import requests

from app.ledger.engine import Ledger
from app.sources.stripe.source import SOURCE as STRIPE
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.diagnosis import LOGS
from tests.support.ports import Port, listens
from tests.support.reaper import guard_process

SECRET = "whsec_of_the_stack_tests"
FORM_SECRET = "typeform secret of the stack tests"
NAMESPACE = ["unshare", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
NAMESPACE += ["--pid", "--fork", "--kill-child=SIGTERM", "--mount-proc"]
"""Runs a command in a PID namespace of its own, as a container would, under this machine's host name."""


def can_make_namespaces() -> bool:
    """Whether this machine lets us do so."""
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Stack:
    """Web and workers as processes of their own."""

    def __init__(self, home: Path, ledger_url: str, redis_url: str, destination_url: str, **variables: str) -> None:
        self._reserved = Port()
        self.port, self.url = self._reserved.number, self._reserved.url
        self.ledger = Ledger(ledger_url)
        self.log_path = home / "log.txt"
        self.log = self.log_path.open("ab")
        LOGS.append(self.log_path)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._within: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "BRIDGE_HOME": str(home),
            "DATABASE_URL": ledger_url,
            "REDIS_URL": redis_url,
            "PORT": str(self.port),
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "TYPEFORM_WEBHOOK_SECRET": FORM_SECRET,
            "STRIPE_ALLOW_TEST_EVENTS": "1",
            "STRIPE_HOLD": "0",
            "DASHBOARD_PASSWORD": "password of the tests",
            "SECRET_KEY": "secret key of the tests",
            "DESTINATION_URL": destination_url,
            "DESTINATION_TOKEN": "token-of-the-tests",
            "DESTINATION_ALLOW_PRIVATE": "1",
            "RETRY_SCHEDULE": "0.2,0.5,1,1,1,1,1,1",
            **variables,
        }

    def start(
        self, role: str, *options: str, wait: bool = True, within: Sequence[str] = ()
    ) -> "subprocess.Popen[bytes]":
        """Starts a "web" or a "worker"; `wait`: until the web answers; `within`: the command that runs it, such as NAMESPACE."""
        arguments = ["-m", "app", "web", *options] if role == "web" else ["-m", "workers", *options]
        process = self._begin(arguments, within)
        if role == "web" and wait:
            self.wait_until_up()
        return process

    def serve(self) -> "subprocess.Popen[bytes]":
        """Starts what `bridge web` becomes after its checks, in half the time, and waits until it answers."""
        processes = self.environment.get("WEB_PROCESSES", "1")
        process = self._begin(["-m", "app.web.server.serve", "127.0.0.1", str(self.port), processes, "json"])
        self.wait_until_up()
        return process

    def _begin(self, arguments: list[str], within: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*within, sys.executable, *arguments],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        guard_process(process.pid)
        self.processes.append(process)
        if within:
            self._within.append(process)
        return process

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """SIGKILL for the whole group: granian's own child dies too."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.processes.remove(process)

    def post(self, body: bytes) -> requests.Response:
        headers = STRIPE.sign(body, SECRET, datetime.now(UTC))
        return requests.post(
            f"{self.url}/webhooks/stripe",
            data=body,
            headers={**headers, "Content-Type": "application/json"},
            timeout=30,
        )

    def post_all(self, bodies: list[bytes], threads: int = 8) -> list[int]:
        with ThreadPoolExecutor(threads) as pool:
            return [answer.status_code for answer in pool.map(self.post, bodies)]

    def counts(self) -> dict[str, int]:
        with self.ledger.read() as tx:
            rows = tx.run("SELECT status, COUNT(*) FROM deliveries GROUP BY status").all()
        return {status: int(count) for status, count in rows}

    def close(self) -> None:
        for process in self.processes:
            if process in self._within:
                end_in_order(process)
            else:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.ledger.close()
        self.log.close()
        self._reserved.close()
        LOGS.remove(self.log_path)

    def wait_until_up(self) -> None:
        """Until the web answers; fails the test where it does not."""
        wait_for(self._is_up)

    def _is_up(self) -> bool:
        with suppress(requests.RequestException):
            return listens(self.port) and requests.get(f"{self.url}/healthz", timeout=10).ok
        return False


def end_in_order(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM for what was started within a NAMESPACE. The first process of one takes no notice before it has its handlers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
    assert process.returncode is not None, "it does not end"


def purchase(number: int | None = None) -> bytes:
    """A paid checkout session with fresh ids; every one is another person."""
    text = (files("app.sources.stripe") / "example.json").read_text(encoding="utf-8")
    identity = secrets.token_hex(8) if number is None else f"{number:016d}"
    text = text.replace("@ID@", identity).replace("@SECONDS@", str(int(time.time())))
    return text.replace("user_ada", f"user_{identity}").replace("ada@example.com", f"{identity}@example.com").encode()
