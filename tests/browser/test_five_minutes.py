"""What goes wrong at night, found and fixed from the first page: a token that expired, a form tool's secret that was rotated."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from tests.browser.site import Restarted
from tests.conftest import STRIPE_SECRET, FakeDestination, wait_for
from tests.support.makers import change, checkout, one, stripe_headers
from workers.forward import Forwarder

pytestmark = pytest.mark.stack
SAID = "API key expired on 2026-11-29"


@pytest.fixture
def site(chromium: Any, tmp_path: Path) -> Iterator[Restarted]:
    started = Restarted(tmp_path)
    with started.ledger.read() as tx:
        now = tx.now()
    statement = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('h', 1, '', ?, ?)"
    change(started.ledger, statement, now, now + 3_600_000)
    yield started
    started.stop()
    started.ledger.close()


class Worker:
    """Forwards as a worker of these settings does, until it is stopped."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._stop = threading.Event()
        self._forwarder = Forwarder(ledger, destinations_of(settings), (0.2, 0.5, 60.0), 900, self._stop)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self._forwarder.begin()
        while not self._stop.is_set():
            self._forwarder.run(lambda: None)
            self._stop.wait(0.05)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self._forwarder.close()


def test_the_token_expired(
    site: Restarted, visit: Callable[..., Page], destination: FakeDestination, make_settings: Callable[..., Settings]
) -> None:
    def answer(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        is_new = request["headers"]["authorization"] == "Bearer the-new-token"
        return (200, {}, b"{}") if is_new else (401, {}, f'{{"error": "{SAID}"}}'.encode())

    destination.answer = answer
    variables = {
        "DESTINATION_URL": destination.url, "DESTINATION_ALLOW_PRIVATE": "1", "STRIPE_ALLOW_TEST_EVENTS": "1",
        "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
    }  # fmt: skip
    site.start(**variables, DESTINATION_TOKEN="the-old-token")
    worker = Worker(site.ledger, make_settings(**variables, DESTINATION_TOKEN="the-old-token"))
    for number in range(5):
        body = checkout(number)
        headers = stripe_headers(body)
        assert requests.post(f"{site.url}/webhooks/stripe", body, headers=headers, timeout=60).status_code == 200
    wait_for(
        lambda: one(site.ledger, "SELECT paused_at FROM destinations WHERE name = 'main' AND paused_at IS NOT NULL")
    )

    page = visit("/")
    page.get_by_text("Forwarding to main is paused").wait_for()
    page.get_by_text("At stake: 99.95 USD.").wait_for()
    assert page.title().startswith("(1) Overview")
    page.get_by_role("main").get_by_role("link", name="Destination", exact=True).click()
    page.get_by_text(f"The destination said: “{SAID}”").wait_for()
    page.get_by_text(
        "Fix DESTINATION_TOKEN (or the URL) and reload the configuration: forwarding resumes by itself."
    ).wait_for()
    page.get_by_label("Token to test with main").fill("the-new-token")
    page.get_by_role("button", name="Test token").click()
    page.get_by_role("status").filter(has_text="with the token given").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'") == (0,)
    page.close()

    worker.stop()
    site.stop()
    site.start(**variables, DESTINATION_TOKEN="the-new-token")
    worker = Worker(site.ledger, make_settings(**variables, DESTINATION_TOKEN="the-new-token"))
    page = visit("/")
    page.get_by_text("All caught up. Every accepted conversion is delivered or in flight.").wait_for()
    wait_for(lambda: one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'") == (5,))
    worker.stop()
    assert page.title().startswith("Overview")


def test_a_form_tool_s_secret_was_rotated(site: Restarted, visit: Callable[..., Page]) -> None:
    site.start(TYPEFORM_WEBHOOK_SECRET="the secret until yesterday")
    assert site.post("typeform", "the secret until yesterday") == 200
    page = visit("/")
    page.evaluate("window.isSamePage = true")
    for _ in range(12):
        assert site.post("typeform", "the secret since today") == 401
    page.get_by_text("Typeform: 12 requests were refused (wrong signature ×12).").wait_for()
    page.get_by_text("Check TYPEFORM_WEBHOOK_SECRET").first.wait_for()
    assert page.locator(".verdict.bad").count() == 1
    assert page.title().startswith("(2) Overview"), "they are in quarantine, too"
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Refused (12 refused requests)").wait_for()
    assert "icon-bad.svg" in (page.locator("link[rel=icon]").get_attribute("href") or "")
    assert page.evaluate("window.isSamePage") is True, "all of it without a reload"
    page.get_by_role("main").get_by_role("link", name="Refused requests").click()
    page.get_by_role("heading", name="Refused requests").wait_for()
    page.get_by_role("cell", name="wrong signature").wait_for()
    page.get_by_text("TYPEFORM_WEBHOOK_SECRET").first.wait_for()
    page.close()

    site.stop()
    site.start(TYPEFORM_WEBHOOK_SECRET="the secret since today")
    assert site.post("typeform", "the secret since today") == 200
    page = visit("/")
    page.get_by_text("The newest request was accepted.").wait_for()
    assert page.locator(".verdict.bad").count() == 0
    assert "icon-warn.svg" in (page.locator("link[rel=icon]").get_attribute("href") or "")
    page.get_by_text("refused requests are in quarantine.").wait_for()
