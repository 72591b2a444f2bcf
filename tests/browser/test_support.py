"""Two tasks of five minutes in a browser: a mapping lacks the currency, and a customer says "my purchase is not credited"."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from app.ledger.engine import Ledger
from tests.browser.accessible import violations
from tests.browser.conftest import Site
from tests.browser.site import Web
from tests.support.empty_ledgers import empty_file
from tests.support.makers import checkout, one, settle
from tests.support.shop import SHOP, configured, headers_of, order

pytestmark = pytest.mark.stack


class ShopSite(Site):
    """A site that takes orders of a shop whose mapping looks in the wrong field for the currency."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ledger = Ledger(empty_file(home / "ledger.db"))
        Web.__init__(self, home, **configured(home, SHOP))

    def restart(self, mapping: str) -> None:
        Web.stop(self)
        Web.__init__(self, self.home, **configured(self.home, mapping))

    def post_order(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        assert requests.post(f"{self.url}/webhooks/shop", data=body, headers=headers_of(body), timeout=60).ok


@pytest.fixture
def site(chromium: Any, tmp_path: Path) -> Iterator[ShopSite]:
    started = ShopSite(tmp_path)
    yield started
    started.stop()


def test_a_mapping_lacks_the_currency(site: ShopSite, visit: Callable[..., Page]) -> None:
    for number in range(1, 4):
        site.post_order(order(f"A-{number}"))
    page = visit("/")
    page.get_by_role("link", name="Parked events").first.click()
    page.get_by_role("link", name="it has no currency").click()
    page.get_by_text('order.currency_code: "EUR"').first.wait_for()
    page.get_by_role("table").get_by_role("link").last.click()
    page.get_by_role("heading", name="What is missing").wait_for()
    line = page.get_by_text(re.compile(r"^currency = \[")).inner_text()
    assert page.get_by_label("Currency").input_value() == "EUR"
    page.get_by_role("button", name="Fill in and reprocess").click()
    page.get_by_role("status").filter(has_text="the event is now sale").wait_for()
    page.get_by_text("Filled in by hand").first.wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries") == (1,)

    page.close()
    site.restart(SHOP.replace('currency = "order.currency"', line))
    page = visit("/parked?source=shop")
    page.get_by_label("all parked events of shop").check()
    page.get_by_role("button", name="Preview reprocessing…").click()
    page.get_by_text("2 become sale").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries") == (1,)
    page.get_by_role("button", name="Reprocess", exact=True).click()
    page.get_by_role("status").filter(has_text="Reprocessed: 2 sale.").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries") == (3,)
    page.get_by_text("No parked event matches.").wait_for()


def test_a_test_order_is_dismissed_and_comes_back(site: ShopSite, visit: Callable[..., Page]) -> None:
    site.post_order(order("A-1"))
    page = visit("/parked", java_script_enabled=False)
    page.get_by_label("Select event 1").check()
    page.get_by_role("button", name="Dismiss…").click()
    page.get_by_label("Reason").fill("a test order")
    page.get_by_role("button", name="Dismiss", exact=True).click()
    page.get_by_text("Dismissed by Grace").wait_for()
    page.goto("/parked")
    page.get_by_role("button", name="Undo the dismissal of event 1").click()
    page.get_by_role("heading", name="What is missing").wait_for()


def test_a_customer_says_that_a_purchase_is_not_credited(site: ShopSite, visit: Callable[..., Page]) -> None:
    site.post(checkout(1, metadata={}))
    settle(site.ledger, "delivered")
    site.post_order(order("A-7"))
    page = visit("/")
    page.keyboard.press("/")
    page.keyboard.type("p1@example.com")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Why is it not credited?").click()
    page.get_by_role("listitem").filter(has_text="cannot be credited to a link").wait_for()
    page.get_by_text(
        "No click ID: the session has none, and no earlier Lead of this person carried one."
    ).first.wait_for()
    page.get_by_label(re.compile("^Email address, order number")).fill("A-7")
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("listitem").filter(has_text="is parked and not sent: it has no currency.").wait_for()
    page.get_by_role("link", name=re.compile("^Event [0-9]+$")).first.click()
    page.get_by_role("button", name="Fill in and reprocess").wait_for()


def test_the_pages_are_accessible_and_fit_a_phone(site: ShopSite, visit: Callable[..., Page]) -> None:
    site.post(checkout(1, metadata={}))
    site.post(checkout(2))
    settle(site.ledger, "delivered")
    site.post_order(order("A-1") | {"<b>\u202ecurrency": "EUR"})
    (event,) = one(site.ledger, "SELECT id FROM events WHERE outcome = 'parked'")
    found = {}
    for scheme, width in (("dark", 1200), ("light", 390)):
        page = visit("/", color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
        for path in ("/parked", f"/events/{event}", "/why", "/why?q=pi_1", "/coverage", "/deliveries?click=none"):
            page.goto(path)
            found[path, scheme] = violations(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert {where: some for where, some in found.items() if some} == {}
