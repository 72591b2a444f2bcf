"""A real browser on a real web process. Where Chromium is missing, these tests are skipped, and say so loudly."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright

from app.ledger.engine import Ledger
from tests.browser.site import ARGUMENTS, CHROMIUM, PASSWORD, Web, log_in
from tests.support.empty_ledgers import empty_file
from tests.support.makers import checkout, settle, stripe_headers

MISSING = "BROWSER TESTS ARE SKIPPED: apt-get install chromium (or set CHROMIUM)"
ANSWERED = re.compile("status of (404|422)|ERR_INTERNET_DISCONNECTED")
"""What the console says of answers that a test asks for, and of a network that it takes away."""
PATIENCE_MS = 100_000
"""Of the machine, not of the page: a build machine may be busy with five other things."""


class Site(Web):
    """A web process on a SQLite ledger of its own; the test itself is the worker."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.ledger = Ledger(empty_file(home / "ledger.db"))
        super().__init__(home, **variables)

    def post(self, body: bytes) -> None:
        answer = requests.post(
            f"{self.url}/webhooks/stripe", data=body, headers=stripe_headers(body), timeout=PATIENCE_MS / 1000
        )
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
        super().stop()
        self.ledger.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Closed with its module: while it is open, an event loop runs in this thread, and asyncio.run() elsewhere fails."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI is set, and there is no Chromium to run the browser tests in")
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def site(chromium: Chromium, tmp_path: Path) -> Iterator[Site]:
    started = Site(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def visit(chromium: Chromium, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens a page, logged in; takes what a browser context takes. Errors on the console fail the test."""
    contexts, problems = [], []

    def open_page(path: str = "/", password: str = PASSWORD, name: str = "Grace", **options: Any) -> Page:
        context = chromium.new_context(base_url=site.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda line: (
                problems.append(line.text) if line.type == "error" and not ANSWERED.search(line.text) else None
            ),
        )
        log_in(page, password, name)
        if path != "/":
            page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
