"""Lists and charts by hand, by key and by thumb: rows, filters, keys, colors, time zones."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessible import violations
from tests.browser.conftest import Site
from tests.support.makers import checkout, one, settle

pytestmark = pytest.mark.stack
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
LISTS = ("/deliveries", "/events", "/failed")


def tap(page: Page, selector: str) -> None:
    """Taps where the thing is, whatever lies over it."""
    place = page.locator(selector).first
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_keys_move_through_a_list_open_a_row_and_ask_before_they_replay(site: Site, visit: Callable[..., Page]) -> None:
    newest = site.fail(1, 2, 3)[-1]
    page = visit("/failed")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog.get_by_text("Next row, previous row")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    rows = page.locator("table.pick tbody tr")
    page.locator("table.pick").scroll_into_view_if_needed()
    page.keyboard.press("j")  # the groups by reason come first
    page.keyboard.press("j")
    expect(rows.nth(0).get_by_role("link", name=str(newest), exact=True)).to_be_focused()
    page.keyboard.press("j")
    expect(rows.nth(1).locator(".c-id a")).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/deliveries/{newest}")
    page.wait_for_load_state()
    page.keyboard.press("r")
    question = page.get_by_role("dialog", name=re.compile(f"Replay: delivery {newest}"))
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(question).to_be_hidden()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'pending'") == (0,)
    page.keyboard.press("r")
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    page.get_by_role("status").filter(has_text="is due now").wait_for()


@pytest.mark.parametrize("is_scripted", [True, False])
def test_a_whole_row_opens_on_a_phone(site: Site, visit: Callable[..., Page], is_scripted: bool) -> None:
    site.post(checkout(1))
    (delivery,) = settle(site.ledger, "delivered")
    page = visit("/deliveries", **PHONE, java_script_enabled=is_scripted)
    size = page.locator(".list tbody tr .c-id a").first.bounding_box()
    assert size is not None
    assert min(size["width"], size["height"]) >= 24
    tap(page, ".list tbody tr .c-when")
    page.wait_for_url(f"**/deliveries/{delivery}")
    page.goto("/deliveries")
    tap(page, ".list tbody tr .c-who a")
    page.wait_for_url("**/persons/*")


def test_text_of_a_row_can_be_selected_without_opening_it(site: Site, visit: Callable[..., Page]) -> None:
    site.post(checkout(1))
    page = visit("/events")
    box = page.locator(".list tbody tr .c-why").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 12, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 10, steps=5)
    page.mouse.up()
    assert page.evaluate("String(getSelection()).length") > 3
    assert page.url.endswith("/events")


def test_filters_are_folded_on_a_phone_and_keep_what_was_typed(site: Site, visit: Callable[..., Page]) -> None:
    site.post(checkout(1))
    page = visit("/deliveries", **PHONE, timezone_id="Europe/Berlin")
    expect(page.get_by_label("Source")).to_be_hidden()
    page.get_by_text("More filters").tap()
    page.get_by_label("Source").select_option("stripe")
    page.get_by_label("From").fill("2026-01-02T03:04")
    page.get_by_role("button", name="Filter", exact=True).tap()
    page.wait_for_url(lambda url: "since=2026-01-02T02" in url)
    assert "q=" not in page.url
    expect(page.get_by_role("link", name="Remove Since 2 Jan 2026, 03:04")).to_be_visible()
    page.get_by_role("link", name="Remove Source: stripe").tap()
    page.wait_for_url(lambda url: "source" not in url)
    page.goto("/deliveries?code=abc&source=stripe")
    expect(page.get_by_text("must be a whole number from 100 to 599").first).to_be_visible()
    assert page.get_by_role("textbox", name="Answer").input_value() == "abc"
    assert page.get_by_role("combobox", name="Source").input_value() == "stripe"


def test_a_chart_tells_its_numbers_and_its_bar_opens_the_list(site: Site, visit: Callable[..., Page]) -> None:
    site.post(checkout(1))
    page = visit("/", timezone_id="Asia/Tokyo")
    page.get_by_text("Times in Asia/Tokyo. Each bar opens its list.").wait_for()
    bar = page.locator(".plot").first.locator("a").last
    bar.hover()
    page.locator("[data-readout]").first.filter(has_text="1 received = 1 conversions").wait_for()
    bar.click()
    page.wait_for_url("**/events?since=*")
    assert page.locator(".list tbody tr").count() == 1
    page.goto("/?span=90d")
    page.get_by_text("Received as a table").click()
    page.get_by_role("table").first.get_by_role("link").last.click()
    page.wait_for_url("**/events?since=*")
    assert page.locator(".list tbody tr").count() == 1


@pytest.mark.parametrize("is_scripted", [True, False])
def test_colors_and_zone_are_chosen_in_the_footer(site: Site, visit: Callable[..., Page], is_scripted: bool) -> None:
    site.post(checkout(1))
    page = visit("/events", java_script_enabled=is_scripted, timezone_id="Asia/Tokyo", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    foot = page.locator("footer")
    light = page.evaluate(ground) if is_scripted else None
    foot.get_by_role("button", name="dark").click()
    page.wait_for_load_state()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url.endswith("/events")
    if light is not None:
        assert page.evaluate(ground) != light
        expect(foot.get_by_text("Asia/Tokyo")).to_be_visible()
    foot.get_by_role("button", name="UTC").click()
    page.wait_for_load_state()
    expect(foot.locator("[data-zone]")).to_have_text("UTC")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    time = page.locator("td time").first
    if is_scripted:
        expect(time).to_have_text(re.compile("just now|min ago"))
        assert "UTC" in (time.get_attribute("title") or "")


def test_lists_and_charts_fit_a_phone_and_are_accessible_there(site: Site, visit: Callable[..., Page]) -> None:
    site.post(checkout(1, customer="cus_1"))
    (sent,) = settle(site.ledger, "delivered")
    site.fail(2)
    found = {}
    lists = [f"{path}{query}" for path in LISTS for query in ("?source=stripe&since=7d&q=p", "?from=soon")]
    # No rule of the style sheet tells these widths apart, so the smaller one is only measured.
    for options in (PHONE, {"viewport": {"width": 320, "height": 700}}):
        most = options["viewport"]["width"]
        page = visit("/", **options, bypass_csp=True)
        for path in ["/", "/?span=90d", *lists, f"/deliveries/{sent}", "/events/1"]:
            page.goto(path)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            if options is PHONE:
                found[path] = violations(page)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= most, (path, width)
    assert {path: some for path, some in found.items() if some} == {}
