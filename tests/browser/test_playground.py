"""The playground and the resend of a window, in a real browser."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessible import violations
from tests.browser.conftest import Site
from tests.support.makers import checkout, count, one, settle

pytestmark = pytest.mark.stack


def test_a_body_is_explained_and_an_edited_mapping_makes_parked_events_sales(
    site: Site, visit: Callable[..., Page]
) -> None:
    for number in range(1, 4):
        site.post(checkout(number, customer_details={}, metadata={"buyer": f"buyer_{number}"}))
    before = count(site.ledger, "events"), count(site.ledger, "deliveries")
    (event,) = one(site.ledger, "SELECT MAX(id) FROM events")
    page = visit(f"/events/{event}")
    page.get_by_role("link", name="Open in playground").click()
    page.get_by_role("button", name="Map the body").click()
    page.get_by_role("heading", name=re.compile("^Result.*parked")).wait_for()
    page.get_by_text("Mapping", exact=True).click()
    page.get_by_label("TOML").fill('[attribution]\ncustomer_id = ["buyer"]\n')
    row = page.get_by_role("region", name="Result").get_by_role("row", name=re.compile("customerExternalId")).first
    expect(row).to_contain_text("buyer_3", timeout=100_000)  # by itself, while somebody types
    expect(row).to_contain_text("data.object.metadata.buyer")
    assert violations(page) == []
    page.get_by_role("button", name="Compare the last 100 events").click()
    page.get_by_text("0 unchanged, 3 parked → sale").wait_for()
    assert 'customer_id = ["buyer"]' in page.locator("pre").last.inner_text()
    page.get_by_role("button", name="Copy the mapping").wait_for()
    assert violations(page) == []
    assert (count(site.ledger, "events"), count(site.ledger, "deliveries")) == before


def test_a_window_is_previewed_and_sent_again(site: Site, visit: Callable[..., Page]) -> None:
    for number in range(1, 4):
        site.post(checkout(number))
    settle(site.ledger, "delivered")
    page = visit("/deliveries")
    page.get_by_role("link", name="Resend a window…").click()
    page.get_by_label("Since").fill("1h")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="Send 3 deliveries again?").wait_for()
    page.get_by_text("59.97 USD").wait_for()
    expect(page.get_by_role("link", name="Cancel")).to_be_focused()
    assert violations(page) == []
    page.get_by_role("button", name="Send 3 again").click()
    page.get_by_text("3 deliveries are due now").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'pending'") == (3,)
