"""One web process, for a browser to look at."""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import requests
from playwright.sync_api import Page

from app.ledger.engine import Ledger
from app.sources.catalog import SOURCES, example
from tests.conftest import PATIENCE_SECONDS, PYTHON, STRIPE_SECRET
from tests.support.diagnosis import LOGS
from tests.support.empty_ledgers import empty_file
from tests.support.ports import Port, listens

PASSWORD, VIEWER_PASSWORD = "password of the tests", "viewers may look"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


class Web:
    """What `bridge web` becomes after its checks, on the ledger in `home` and a port of its own, with no Redis. `url` is where it
    answers, and what {url} stands for in `variables`."""

    def __init__(self, home: Path, **variables: str) -> None:
        self._reserved = Port()
        self.url = self._reserved.url
        environment = {
            **os.environ,
            "BRIDGE_HOME": str(home),
            "REDIS_URL": f"unix://{home}/none.sock",
            "PORT": str(self._reserved.number),
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "STRIPE_HOLD": "0",
            "SANDBOX": "1",
            "DASHBOARD_PASSWORD": PASSWORD,
            "DASHBOARD_VIEWER_PASSWORD": VIEWER_PASSWORD,
            "SECRET_KEY": "secret key of the tests",
            **{name: value.replace("{url}", self.url) for name, value in variables.items()},
        }
        self._log = home / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "app.web.server.serve", "127.0.0.1", str(self._reserved.number), "1", "json"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        LOGS.append(self._log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(requests.RequestException):
                if listens(self._reserved.number):
                    requests.get(f"{self.url}/healthz", timeout=10)
                    return
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise RuntimeError(self._log.read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        self._reserved.close()
        LOGS.remove(self._log)


class Restarted(Web):
    """A web on a ledger that outlives it: set a variable, restart, go on. The test starts it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ledger = Ledger(empty_file(home / "ledger.db"))

    def start(self, **variables: str) -> None:
        super().__init__(self.home, **{"STRIPE_WEBHOOK_SECRET": "", **variables})

    def post(self, name: str, secret: str) -> int:
        """What the provider sends, signed with the secret that was entered there."""
        body, kind = example(name)
        headers = {"Content-Type": kind, **SOURCES[name].sign(body, secret, datetime.now(UTC))}
        return requests.post(f"{self.url}/webhooks/{name}", data=body, headers=headers, timeout=60).status_code


def log_in(page: Page, password: str = PASSWORD, name: str = "Grace") -> None:
    """Logs in, in a page of Playwright's."""
    page.goto("/login")
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    page.wait_for_load_state()  # the button may stand there before the script that listens for keys
