"""A real browser on a real web process. Where playwright or Chromium is missing, these tests are skipped, and say so loudly."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from tests.conftest import PYTHON, STRIPE_SECRET
from tests.makers import checkout, settle, stripe_headers

PASSWORD, VIEWER_PASSWORD = "password of the tests", "viewers may look"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MISSING = "BROWSER TESTS ARE SKIPPED: pip install playwright, and apt-get install chromium (or set CHROMIUM)"


class Site:
    """A web process on a SQLite ledger of its own; the test itself is the worker."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
        upgrade(self.ledger)
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
        }
        with (home / "log.txt").open("wb") as log:
            self._process = subprocess.Popen([PYTHON, "-m", "app", "web"], env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
                return
            except requests.ConnectionError:
                if time.monotonic() > deadline:
                    pytest.fail((home / "log.txt").read_text())
                time.sleep(0.05)

    def post(self, body: bytes) -> None:
        answer = requests.post(f"{self.url}/webhooks/stripe", data=body, headers=stripe_headers(body), timeout=10)
        assert answer.status_code == 200, answer.text

    def fail(self, *numbers: object, **options: Any) -> list[int]:
        """Sales that the destination refused."""
        for number in numbers:
            self.post(checkout(number))
        answer = '{"error":"this currency is not enabled"}'
        found: list[int] = []
        while batch := settle(
            self.ledger, "permanent", status=422, error="answered 422: it will not take it", answer=answer
        ):
            found += batch
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(15)
        self.ledger.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if sync_playwright is None or CHROMIUM is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(chromium: Any, tmp_path: Path) -> Iterator[Site]:
    started = Site(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Any]:
    """Opens a page, logged in; takes what a browser context takes. Errors on the console fail the test."""
    contexts, problems = [], []

    def open_page(path: str = "/", password: str = PASSWORD, **options: Any) -> Any:
        context = chromium.new_context(base_url=site.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda line: problems.append(line.text) if line.type == "error" and "422" not in line.text else None,
        )
        page.goto("/login")
        page.get_by_label("Your name").fill("Grace")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        if path != "/":
            page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
