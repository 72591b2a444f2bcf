"""What somebody does who is reported that conversions are missing, in a real browser."""

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from app.ledger.forwarding.breaker import resume
from tests.browser.accessible import violations_in_both_schemes
from tests.browser.conftest import Site
from tests.browser.site import VIEWER_PASSWORD
from tests.support.makers import begin, checkout, one, settle

pytestmark = pytest.mark.stack
PAGES = (
    "/",
    "/failed",
    "/deliveries",
    "/events",
    "/persons",
    "/sources",
    "/sources/stripe",
    "/setup",
    "/configuration",
    "/destination",
    "/alerts",
    "/playground",
    "/resend?since=1h",
    "/audit",
    "/account",
    "/users",
    "/search?q=p1",
    "/why?q=p1",
    "/sandbox",
)


def every_page(site: Site) -> list[str]:
    """All pages, those of one thing too, with something to show on each."""
    site.post(checkout(1))
    settle(site.ledger, "delivered")
    (delivery,) = site.fail(2)
    site.post(checkout(3, customer_details={"email": None, "name": None}, metadata={}))
    (person,) = one(site.ledger, "SELECT person_id FROM deliveries WHERE id = ?", delivery)
    (parked,) = one(site.ledger, "SELECT id FROM events WHERE outcome = 'parked'")
    return [
        *PAGES, f"/deliveries/{delivery}", f"/deliveries/{delivery}/edit", f"/persons/{person}", f"/persons/{person}/forget",
        f"/events/{parked}", "/events?outcome=parked", "/parked", "/failed?q=nobody",
    ]  # fmt: skip


def test_find_a_dead_delivery_by_e_mail_read_why_replay_it_and_see_it_delivered(
    site: Site, visit: Callable[..., Page]
) -> None:
    site.fail(*range(1, 6))
    page = visit("/failed")
    page.keyboard.press("/")
    page.keyboard.type("p3@example.com")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile(r"^Failed deliveries 1\b")).wait_for()
    page.get_by_role("table").last.get_by_role("link").first.click()
    page.get_by_text("The destination said: “this currency is not enabled”").wait_for()
    page.wait_for_load_state()  # the text may stand there before the script that listens for keys
    page.keyboard.press("r")
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    page.get_by_role("status").filter(has_text="It was dead and is due now.").wait_for()
    page.evaluate("window.isSamePage = true")
    settle(site.ledger, "delivered")
    page.locator("h1 .badge.delivered").wait_for()
    assert page.evaluate("window.isSamePage") is True
    page.get_by_text("manual", exact=True).wait_for()


def test_replay_of_500_shows_how_it_goes_on(
    site: Site, visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fail(*range(1, 521))
    page = visit("/failed")
    page.get_by_label("all 520 matching deliveries").check()
    page.get_by_role("button", name="Replay…").click()
    page.get_by_role("button", name="Replay 520").click()
    page.get_by_role("heading", name="Done").wait_for()
    assert "520 deliveries are due now" in page.get_by_role("status").inner_text()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'pending'") == (520,)


def test_a_discard_is_confirmed_and_can_be_undone(site: Site, visit: Callable[..., Page]) -> None:
    site.fail(1, 2, 3)
    page = visit("/failed")
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Discard…").click()
    page.get_by_role("button", name="Discard 3").click()
    page.get_by_role("heading", name="Done").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'discarded'") == (3,)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("deliveries are as before").wait_for()
    assert one(site.ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'") == (3,)


def test_edit_and_send(site: Site, visit: Callable[..., Page]) -> None:
    (delivery,) = site.fail(1)
    page = visit(f"/deliveries/{delivery}")
    page.get_by_role("link", name="Edit and send…").click()
    field = page.get_by_label("Payload")
    good = field.input_value()
    field.fill(good.replace('"pi_1"', '"pi_2"'))
    page.get_by_role("button", name="Review changes").click()
    page.get_by_role("alert").filter(has_text="cannot be changed").wait_for()
    page.get_by_label("Payload").fill(good.replace('"USD"', '"EUR"'))
    page.get_by_role("button", name="Review changes").click()
    page.get_by_role("row", name='currency "USD" "EUR"').wait_for()
    page.get_by_role("button", name="Send edited payload").click()
    page.get_by_text("It goes out as edited").wait_for()
    (claimed,) = begin(site.ledger)
    assert '"EUR"' in claimed.payload
    assert claimed.dedupe_key == "sale:stripe:pi_1:edit-1"


def test_a_read_only_login_sees_it_and_has_no_button(site: Site, visit: Callable[..., Page]) -> None:
    (delivery,) = site.fail(1)
    page = visit(f"/deliveries/{delivery}", VIEWER_PASSWORD)
    page.get_by_text("p•••@example.com").first.wait_for()
    page.keyboard.press("r")
    assert page.locator("main").get_by_role("button").filter(has_not_text="Copy").count() == 0
    assert page.get_by_role("dialog").count() == 0
    assert one(site.ledger, "SELECT status FROM deliveries") == ("dead",)


def test_without_script_a_delivery_is_replayed_all_the_same(site: Site, visit: Callable[..., Page]) -> None:
    (delivery,) = site.fail(1)
    page = visit(f"/deliveries/{delivery}", java_script_enabled=False)
    page.get_by_role("button", name="Replay").click()
    page.get_by_text("It was dead and is due now.").wait_for()
    page.goto("/")
    assert page.locator("svg.plot-area").first.is_visible()


def test_the_overview_follows_what_happens(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/")
    page.get_by_text("No deliveries yet.").wait_for()
    site.fail(1)
    page.get_by_role("heading", name="Permanent failures").wait_for()
    page.get_by_role("link", name="✕ 1 dead 19.99 USD").wait_for()


def test_an_empty_list_fills_without_a_reload(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/deliveries")
    page.get_by_text("No deliveries yet.").wait_for()
    site.post(checkout(1))
    page.get_by_text("p1@example.com").wait_for()


def test_no_script_of_a_body_a_name_or_an_answer_runs_on_any_page(site: Site, visit: Callable[..., Page]) -> None:
    evil = '"><img src=x onerror="window.ran=1"><script>window.ran=1</script>{{7*7}}\u202egnp.exe 👩‍👩‍👧 '
    site.post(checkout(1, customer_details={"email": "p1@example.com", "name": evil}, metadata={"user_id": evil}))
    site.post(checkout(2, description=evil + "long " * 190_000))
    site.post(checkout(3, customer_details={"email": None, "name": evil}, metadata={}))
    settle(site.ledger, "permanent", status=422, error=evil, answer=evil + "x" * 5000)
    page = visit("/", viewport={"width": 390, "height": 800})
    page.on("dialog", lambda dialog: pytest.fail("a dialog was opened"))
    ids = {
        table: one(site.ledger, f"SELECT MIN(id), MAX(id) FROM {table}")
        for table in ("deliveries", "events", "persons")
    }
    paths = [f"/{table}/{number}" for table, both in ids.items() for number in both]
    for path in [*PAGES, *paths, f"/deliveries/{ids['deliveries'][0]}/edit", "/failed?q=" + quote(evil)]:
        page.goto(path)
        assert page.evaluate("window.ran === undefined && document.querySelector('main img, main script') === null"), (
            path
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_every_page_keeps_the_policy_and_the_width_of_a_phone_and_is_accessible(
    site: Site, visit: Callable[..., Page]
) -> None:
    paths = every_page(site)
    page = visit("/", viewport={"width": 390, "height": 800})
    for path in paths:
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
    page = visit("/", bypass_csp=True)  # the checker is a script of its own
    found = {}
    for path in ["/login", *paths, "/nowhere"]:
        page.goto(path)
        found[path] = violations_in_both_schemes(page)
    assert {path: some for path, some in found.items() if some} == {}


def test_a_page_whose_server_is_gone_says_so_and_since_when(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/deliveries")
    assert not page.locator("[data-lost]").count()
    page.context.set_offline(True)
    page.wait_for_selector("[data-lost]")
    assert re.search(r"Connection lost\. Showing data from \d?\d:\d\d", page.inner_text("[data-lost]"))
    assert page.evaluate("document.body.classList.contains('stale')")
    page.context.set_offline(False)
    page.wait_for_selector("[data-lost]", state="detached")
    assert not page.evaluate("document.body.classList.contains('stale')")


def test_a_notice_goes_when_the_state_that_it_was_about_is_over(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/destination")
    page.fill("input[name=reason]", "a test")
    page.click("text=Pause")
    page.wait_for_selector("[data-flash]")
    page.click("h1")
    with site.ledger.write() as tx:
        resume(tx, "sandbox", actor="somebody else")
    page.wait_for_selector("button:has-text('Pause')")
    page.wait_for_selector("[data-flash]", state="detached")
