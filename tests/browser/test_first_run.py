"""The first run in a real browser: from the checklist, over the page of a provider, to the first conversion."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.accessible import violations, violations_in_both_schemes
from tests.browser.site import VIEWER_PASSWORD, Restarted
from tests.support.makers import one, settle

pytestmark = pytest.mark.stack
PAGES = ("/", "/setup", "/sources", "/sources/typeform", "/sources/fillout", "/sources/googleforms", "/sources/stripe")


@pytest.fixture
def site(chromium: Any, tmp_path: Path) -> Iterator[Restarted]:
    started = Restarted(tmp_path)
    yield started
    started.stop()
    started.ledger.close()


def done(page: Any) -> list[str]:
    """The titles of the steps that are ticked."""
    texts: list[str] = page.get_by_role("listitem").filter(has_text=": done").locator("b").all_inner_texts()
    return texts


def test_from_the_checklist_to_the_first_conversion(site: Restarted, visit: Callable[..., Any]) -> None:
    site.start()
    page = visit("/")
    page.get_by_role("heading", name="Set up the bridge").wait_for()
    assert done(page) == []
    page.get_by_role("link", name="Choose a source").first.click()
    page.get_by_role("link", name="Typeform", exact=True).click()
    page.get_by_role("heading", name="Typeform", exact=True, level=1).wait_for()
    page.get_by_text("Typeform is not connected.").wait_for()
    page.get_by_role("button", name="Copy the line for bridge.env").wait_for()
    (line,) = (text for text in page.locator("pre").all_inner_texts() if text.startswith("TYPEFORM_WEBHOOK_SECRET="))
    secret = line.partition("=")[2]
    page.get_by_text(secret, exact=True).wait_for()
    page.get_by_text(f"{site.url}/webhooks/typeform").first.wait_for()
    page.close()
    site.stop()
    site.start(TYPEFORM_WEBHOOK_SECRET=secret)

    page = visit("/sources/typeform")
    page.get_by_text("Waiting for the first event from Typeform…").wait_for()
    page.evaluate("window.isSamePage = true")
    assert site.post("typeform", "another secret, which was entered there") == 401
    page.get_by_text("Wrong signature. Check TYPEFORM_WEBHOOK_SECRET").wait_for()
    assert site.post("typeform", secret) == 200
    page.get_by_text("Typeform is connected.").wait_for()
    assert page.evaluate("window.isSamePage") is True
    page.get_by_role("link", name="form_response").first.click()
    page.get_by_text("a form was submitted").first.wait_for()
    settle(site.ledger, "delivered")
    assert one(site.ledger, "SELECT kind, status FROM deliveries") == ("lead", "delivered")

    page.goto("/")
    assert done(page) == ["Connect a source", "Receive the first event"]
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("status").filter(has_text="The checklist is dismissed").wait_for()
    assert page.get_by_role("heading", name="Set up the bridge").count() == 0
    page.goto("/sources")
    page.get_by_role("link", name="Setup checklist").click()
    page.get_by_role("button", name="Show it on the overview").click()
    page.goto("/")
    page.get_by_role("heading", name="Set up the bridge").wait_for()


def test_a_test_event_is_sent_from_the_page_without_script(site: Restarted, visit: Callable[..., Any]) -> None:
    site.start(TYPEFORM_WEBHOOK_SECRET="typeform secret of the tests")
    page = visit("/sources/typeform", java_script_enabled=False)
    page.get_by_role("button", name="Send a test event").click()
    page.get_by_text("The test event is here: lead").wait_for()
    page.goto("/sources/typeform")
    page.get_by_text("Waiting for the first event from Typeform…").wait_for()
    page.get_by_text("Test event", exact=True).wait_for()


def test_the_pages_of_the_set_up_are_accessible_fit_a_phone_and_show_a_viewer_no_secret(
    site: Restarted, visit: Callable[..., Any]
) -> None:
    site.start()
    page = visit("/sources/typeform", VIEWER_PASSWORD)
    page.get_by_text("Turn the webhook on").wait_for()
    assert page.locator("pre").filter(has_text="WEBHOOK_SECRET=").count() == 0
    assert page.get_by_role("main").get_by_role("button").filter(has_not_text=re.compile("Log out|Copy")).count() == 0
    found = {}
    for width, look in ((1200, violations_in_both_schemes), (390, violations)):
        page = visit("/", viewport={"width": width, "height": 800}, bypass_csp=True)
        for path in PAGES:
            page.goto(path)
            found[path, width] = look(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert {where: some for where, some in found.items() if some} == {}
