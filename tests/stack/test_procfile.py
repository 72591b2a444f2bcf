"""The Procfile, started as `honcho start` does: every line goes on, and what comes in goes out."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from app.sources.catalog import SOURCES
from tests.conftest import PATIENCE_SECONDS, STRIPE_SECRET, FakeDestination, Valkey, wait_for
from tests.support.diagnosis import LOGS
from tests.support.ports import quiet_port
from tests.support.reaper import guard_process
from tests.support.stack_parts import purchase

ROOT = Path(__file__).parents[2]


@pytest.mark.stack
def test_honcho_start_runs_everything_on_an_empty_ledger(
    valkey: Valkey, destination: FakeDestination, tmp_path: Path
) -> None:
    port = quiet_port()
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "BRIDGE_HOME": str(tmp_path / "home"),
        "REDIS_URL": valkey.url,
        "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
        "STRIPE_ALLOW_TEST_EVENTS": "1",
        "STRIPE_HOLD": "0",
        "DESTINATION_URL": destination.url,
        "DESTINATION_TOKEN": "token-of-the-tests",
        "DESTINATION_ALLOW_PRIVATE": "1",
        "DASHBOARD_PASSWORD": "password of the tests",
        "SECRET_KEY": "secret key of the tests",
    }
    log = tmp_path / "log.txt"
    LOGS.append(log)
    command = [str(scripts / "honcho"), "start", "-f", str(ROOT / "Procfile"), "-p", str(port), "-e", os.devnull]
    with log.open("wb") as output:
        honcho = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=output, stderr=output)
    guard_process(honcho.pid)

    def is_up() -> bool:
        assert honcho.poll() is None, "one of its processes ended"
        with suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/statusz", timeout=10).ok
        return False

    try:
        wait_for(is_up)
        body = purchase()
        headers = {"Content-Type": "application/json", **SOURCES["stripe"].sign(body, STRIPE_SECRET, datetime.now(UTC))}
        url = f"http://127.0.0.1:{port}/webhooks/stripe"
        assert requests.post(url, data=body, headers=headers, timeout=PATIENCE_SECONDS).ok
        wait_for(lambda: destination.payloads)
        assert honcho.poll() is None
    finally:
        honcho.send_signal(signal.SIGTERM)
        honcho.wait(PATIENCE_SECONDS)
        LOGS.remove(log)
