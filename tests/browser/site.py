"""One web process, for a browser to look at."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

from tests.conftest import PYTHON, STRIPE_SECRET

PASSWORD, VIEWER_PASSWORD = "password of the tests", "viewers may look"
START_SECONDS = 60
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


class Web:
    """`bridge web` on the ledger in `home`, on a port of its own, with no Redis. `url` is where it answers."""

    def __init__(self, home: Path, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        environment = {
            **os.environ,
            "BRIDGE_HOME": str(home),
            "REDIS_URL": f"unix://{home}/none.sock",
            "PORT": self.url.rsplit(":", 1)[1],
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "STRIPE_HOLD": "0",
            "DASHBOARD_PASSWORD": PASSWORD,
            "DASHBOARD_VIEWER_PASSWORD": VIEWER_PASSWORD,
            "SECRET_KEY": "secret key of the tests",
            **variables,
        }
        with (home / "log.txt").open("wb") as log:
            self._process = subprocess.Popen([PYTHON, "-m", "app", "web"], env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
                return
            except requests.RequestException:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.stop()
                    raise RuntimeError((home / "log.txt").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(15)


def log_in(page: Any, password: str = PASSWORD, name: str = "Grace") -> None:
    """Logs in, in a page of Playwright's."""
    page.goto("/login")
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
