"""The page that connects one source: its steps, URL and secret, whether the first event came, and what was refused."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.sources.catalog import SOURCES
from tests.conftest import STRIPE_SECRET, TYPEFORM_SECRET
from tests.support.makers import checkout, one, signed
from tests.web.conftest import API, Browser

TOKEN, VIEWER = "token-of-the-tests-0123456789", "viewers may look"
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(JOTFORM_PATH_TOKEN=TOKEN, DASHBOARD_VIEWER_PASSWORD=VIEWER, PUBLIC_URL="https://bridge.example")


def text(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def state(page: str) -> str:
    (part,) = re.findall(r'aria-label="State".*?</section>', page, re.DOTALL)
    return text(part)


@sqlite_alone
def test_every_source_has_a_page_with_its_steps_and_the_url_to_paste(browser: Browser) -> None:
    overview = browser.get("/sources").text
    for name, source in SOURCES.items():
        assert f'href="/sources/{name}"' in overview
        page = browser.get(f"/sources/{name}").text
        assert f"<h1>{source.title}</h1>" in page
        assert f"https://bridge.example/webhooks/{name}" in page
        assert "comes from another package" not in page
        assert "PUBLIC_URL/webhooks" not in page
    assert browser.get("/sources/nowhere").status_code == 404


def test_it_waits_for_the_first_event_shows_a_test_apart_and_then_the_event(browser: Browser, ledger: Ledger) -> None:
    assert "Waiting for the first event from Stripe…" in state(browser.get("/sources/stripe").text)
    browser.submit("/sources/stripe/test")
    (test_id,) = one(ledger, "SELECT MAX(id) FROM events")
    shown = browser.get("/sources/stripe").text
    assert "Waiting for the first event from Stripe…" in state(shown)
    assert "Test event sale" in state(shown)
    assert f'href="/events/{test_id}"' in shown
    for number in (1, 2):
        browser.client.post("/webhooks/stripe", **signed(checkout(number)))
    first, last = (one(ledger, f"SELECT {which}(id) FROM events WHERE id > ?", test_id)[0] for which in ("MIN", "MAX"))
    shown = browser.get("/sources/stripe").text
    assert "Stripe is connected." in state(shown)
    assert f'First event</dt><dd><span class="badge sale">sale</span> <a href="/events/{first}"' in shown
    assert f'Last event</dt><dd><span class="badge sale">sale</span> <a href="/events/{last}"' in shown


def test_the_last_refusal_is_shown_with_reason_time_and_remedy(browser: Browser, ledger: Ledger) -> None:
    assert "Last refused" not in browser.get("/sources/typeform").text
    with ledger.write() as tx:
        now = tx.now()
        add_refusals(tx, {("typeform", "missing"): 1}, now - 3_600_000)
        add_refusals(tx, {("typeform", "wrong"): 40}, now, {("typeform", "wrong"): (9000, 2000)})
    shown = state(browser.get("/sources/typeform").text)
    assert "Wrong signature. Check TYPEFORM_WEBHOOK_SECRET" in shown
    assert "40 in a week" in shown
    assert "refused-now" in browser.get("/sources/typeform").text


@sqlite_alone
def test_a_secret_is_generated_where_one_chooses_it_and_not_for_the_script_or_a_viewer(
    app: Flask, browser: Browser
) -> None:
    def line(page: str) -> list[str]:
        return re.findall(r"<pre[^>]*>((?:TALLY|FILLOUT|CHARGEBEE|CLERK)_\w+=[^<]*)</pre>", page)

    first, second = (line(browser.get("/sources/tally").text)[0] for _ in range(2))
    assert re.fullmatch(r"TALLY_WEBHOOK_SECRET=[\w-]{43}", first)
    assert first != second
    (token,) = line(browser.get("/sources/fillout").text)
    page = browser.get("/sources/fillout").text
    assert f"https://bridge.example/webhooks/fillout/{line(page)[0].partition('=')[2]}" in page
    assert token.startswith("FILLOUT_PATH_TOKEN=")
    assert line(browser.get("/sources/chargebee").text)[0].startswith("CHARGEBEE_WEBHOOK_SECRET=bridge:")
    assert line(browser.get("/sources/clerk").text) == ["CLERK_WEBHOOK_SECRET="]
    assert line(browser.client.get("/sources/tally", headers={"X-Live": "1"}).text) == ["TALLY_WEBHOOK_SECRET="]
    viewer = Browser(app.test_client(), VIEWER)
    assert line(viewer.get("/sources/tally").text) == []
    assert "TALLY_WEBHOOK_SECRET" in viewer.get("/sources/tally").text


@sqlite_alone
def test_no_configured_secret_is_on_the_page_and_a_token_only_for_an_operator_who_asks(
    app: Flask, browser: Browser, ledger: Ledger
) -> None:
    viewer = Browser(app.test_client(), VIEWER)
    for who in (browser, viewer):
        pages = "".join(who.get(f"/sources/{name}").text for name in ("stripe", "typeform", "jotform"))
        for secret in (STRIPE_SECRET, TYPEFORM_SECRET, TOKEN):
            assert secret not in html.unescape(pages)
    assert "<button" not in viewer.get("/sources/jotform").text.split("<main")[1].split("</main>")[0]
    assert viewer.submit("/sources/jotform/url", page="set-up").status_code == 403
    shown = browser.submit("/sources/jotform/url", page="set-up").text
    assert f"https://bridge.example/webhooks/jotform/{TOKEN}" in shown
    assert "data-live" not in shown.split("<main")[1].split("</main>")[0]
    assert one(ledger, "SELECT action, subject FROM audit") == ("show url", "source jotform")


@sqlite_alone
def test_a_secret_of_the_sandbox_connects_no_provider(make_app: Callable[..., Flask], tmp_path: Any) -> None:
    from app.config.generated_secrets import make_up_secrets

    make_up_secrets(tmp_path / "home")
    browser = Browser(make_app(TYPEFORM_WEBHOOK_SECRET="").test_client(), "password of the tests")
    page = browser.get("/sources/typeform").text
    assert "Typeform is not connected." in state(page)
    assert "bridge send typeform" in state(page)
    assert browser.submit("/sources/typeform/test").status_code == 302


@sqlite_alone
def test_a_secret_that_is_another_credential_is_pointed_out(make_app: Callable[..., Flask]) -> None:
    app = make_app(PADDLE_WEBHOOK_SECRET="pdl_live_apikey_01h", CLERK_WEBHOOK_SECRET="d2hhdGV2ZXI=", PUBLIC_URL="")
    browser = Browser(app.test_client(), "password of the tests")
    assert "is an API key (pdl_…_apikey_…), which signs no webhooks" in state(browser.get("/sources/paddle").text)
    assert "does not begin with whsec_" in state(browser.get("/sources/clerk").text)
    assert "This URL works on this machine only." in text(browser.get("/sources/paddle").text)


@sqlite_alone
def test_a_source_of_ones_own_has_a_page_whose_title_is_text_and_which_names_its_unit(
    make_app: Callable[..., Flask], tmp_path: Any
) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text(
        '[sources.shop]\nkind = "sale"\ntitle = "<script>alert(1)</script>"\nsignature = "none"\n'
        '[sources.shop.fields]\norder_id = "id"\namount = "total"\namount_unit = "iso"\ncurrency = "currency"\n'
    )
    app = make_app(BRIDGE_CONFIG=str(config), SHOP_PATH_TOKEN=TOKEN)
    page = Browser(app.test_client(), "password of the tests").get("/sources/shop").text
    assert "<script>alert" not in page
    assert "amounts are read in the minor unit of ISO 4217" in text(page)


def test_the_api_says_what_the_page_says(browser: Browser, ledger: Ledger) -> None:
    def ask(path: str) -> Any:
        return browser.client.get(f"/api/v1/{path}", headers=API)

    browser.client.post("/webhooks/stripe", **signed(checkout(1)))
    with ledger.write() as tx:
        add_refusals(tx, {("stripe", "too old"): 3}, tx.now() - 60_000)
    stripe = ask("sources/stripe").json
    assert (stripe["stage"], stripe["first"]["outcome"], stripe["test"]) == ("receiving", "sale", None)
    assert (stripe["refused"]["reason"], stripe["refused"]["count"]) == ("too old", 3)
    jotform = ask("sources/jotform")
    assert (jotform.json["stage"], jotform.json["url"]) == ("waiting", "https://bridge.example/webhooks/jotform/…")
    assert TOKEN not in jotform.text
    assert ask("sources/nowhere").status_code == 404
    steps = {step["key"]: step["is_done"] for step in ask("setup").json["steps"]}
    assert steps == {
        "destination": False,
        "source": True,
        "event": True,
        "public_url": True,
        "alerts": False,
        "retention": False,
    }


@sqlite_alone
def test_the_checklist_is_dismissed_by_an_operator_and_brought_back(
    app: Flask, browser: Browser, ledger: Ledger
) -> None:
    viewer = Browser(app.test_client(), VIEWER)
    for who in (browser, viewer):
        assert "Set up the bridge" in who.get("/").text
    assert "Dismiss" not in viewer.get("/").text
    assert viewer.submit("/setup").status_code == 403
    browser.submit("/setup")
    assert "Set up the bridge" not in browser.get("/").text
    assert "Setup checklist" in text(browser.get("/setup").text)
    browser.submit("/setup", show="1")
    assert "Set up the bridge" in browser.get("/").text
    with ledger.read() as tx:
        actions = tx.run("SELECT actor, action FROM audit ORDER BY id").all()
    assert [tuple(row) for row in actions] == [("Grace", "dismiss checklist"), ("Grace", "show checklist")]
