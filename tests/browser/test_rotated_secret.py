"""A form tool's secret was rotated: from the first sign of it to the submissions that are taken in after all."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from app.ledger.engine import Ledger
from app.sources.catalog import SOURCES, example
from tests.browser.accessible import violations
from tests.browser.conftest import PATIENCE_MS
from tests.browser.site import VIEWER_PASSWORD, Web
from tests.conftest import wait_for
from tests.support.empty_ledgers import empty_file
from tests.support.makers import count, one

pytestmark = pytest.mark.stack
OLD, NEW = "typeform secret before its rotation", "typeform secret after its rotation"


class Site(Web):
    """A web whose secret of Typeform is corrected by a restart."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ledger = Ledger(empty_file(home / "ledger.db"))
        self.start(OLD)

    def start(self, secret: str) -> None:
        super().__init__(self.home, TYPEFORM_WEBHOOK_SECRET=secret)

    def submit(self, body: bytes, secret: str) -> int:
        headers = {"Content-Type": "application/json", "User-Agent": "<b>robot</b> of ada@kern.example"}
        headers |= SOURCES["typeform"].sign(body, secret, datetime.now(UTC))
        return requests.post(f"{self.url}/webhooks/typeform", data=body, headers=headers, timeout=60).status_code


@pytest.fixture
def site(chromium: Any, tmp_path: Path) -> Iterator[Site]:
    started = Site(tmp_path)
    yield started
    started.stop()
    started.ledger.close()


def test_a_rotated_secret_costs_no_submission(site: Site, visit: Callable[..., Any]) -> None:
    bodies = [example("typeform")[0] for _ in range(4)]
    assert site.submit(bodies[0], OLD) == 200
    assert [site.submit(body, NEW) for body in bodies[1:]] == [401] * 3
    assert site.submit(example("typeform")[0], "a secret that somebody invented") == 401
    wait_for(lambda: count(site.ledger, "quarantine") == 4)

    page = visit("/")
    page.get_by_text("4 requests were refused (wrong signature ×4)").wait_for()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Refused").click()
    page.get_by_role("heading", name="Refused requests").wait_for()
    page.get_by_text("Check TYPEFORM_WEBHOOK_SECRET").wait_for()
    page.get_by_text("Redeliver at Typeform: Typeform has no manual resend.").wait_for()
    page.get_by_role("img", name="4 requests over time").wait_for()
    page.close()
    site.stop()
    site.start(NEW)

    page = visit("/inbound")
    page.get_by_role("button", name="Verify requests of Typeform again and accept them").click()
    page.get_by_role("status").filter(has_text="3 accepted (3 lead), 1 refused again.").wait_for()
    assert site.submit(bodies[1], NEW) == 200  # Typeform's own retry
    with site.ledger.read() as tx:
        kinds = tx.run("SELECT kind, COUNT(*) FROM deliveries GROUP BY kind").all()
    assert [tuple(row) for row in kinds] == [("lead", 4)]

    page.get_by_text("refused again", exact=True).wait_for()
    page.get_by_role("checkbox", name="Select request").first.check()
    page.get_by_role("button", name="Drop…").click()
    page.get_by_role("heading", name="Drop 1 request?").wait_for()
    page.get_by_role("button", name="Drop 1").click()
    page.get_by_text("The quarantine is empty.").wait_for()
    page.goto("/audit")
    page.get_by_text("3 accepted (3 lead), 1 refused again").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM audit WHERE action = 'drop'")[0] == 1


def test_the_pages_of_refused_requests_are_accessible_and_show_a_viewer_no_body(
    site: Site, visit: Callable[..., Any]
) -> None:
    for _ in range(2):
        site.submit(example("typeform")[0], NEW)
    wait_for(lambda: count(site.ledger, "quarantine") == 2)
    identity = one(site.ledger, "SELECT MIN(id) FROM quarantine")[0]
    paths = ("/inbound", "/inbound?source=typeform&since=1h", "/inbound/quarantine", f"/inbound/quarantine/{identity}")
    for scheme, width in (("light", 1200), ("dark", 390)):
        page = visit("/", color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
        page.set_default_timeout(PATIENCE_MS)
        for path in paths:
            page.goto(path)
            assert violations(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page = visit("/", VIEWER_PASSWORD, java_script_enabled=False)
    for path in paths:
        page.goto(path)
        shown = page.content()
        assert "ada@" not in shown
        assert "form_response" not in shown
    page.get_by_text("Only operators see the headers and body").wait_for()
