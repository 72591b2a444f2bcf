"""The page of sources: what is configured, what came, which URL to paste; a token only for an operator who asks."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from tests.conftest import STRIPE_SECRET, TYPEFORM_SECRET
from tests.support.makers import change, checkout, count, one, signed
from tests.web.conftest import Browser

TOKEN = "token-of-the-tests-0123456789"
VIEWER = "viewers may look"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(JOTFORM_PATH_TOKEN=TOKEN, DASHBOARD_VIEWER_PASSWORD=VIEWER, PUBLIC_URL="https://bridge.example")


def row(page: str, name: str) -> str:
    return html.unescape(re.split("data-source=|</tbody>|</dl>", page.split(f'data-source="{name}"')[1])[0])


def test_each_source_says_whether_it_is_configured_and_what_to_set(browser: Browser) -> None:
    page = browser.get("/sources").text
    assert "https://bridge.example/webhooks/stripe<" in row(page, "stripe")
    assert "signature" in row(page, "stripe")
    assert "STRIPE_WEBHOOK_SECRET" not in page
    assert "TALLY_WEBHOOK_SECRET" in row(page, "tally")
    assert "FILLOUT_PATH_TOKEN" in row(page, "fillout")
    assert "URL token" in row(page, "jotform")


def test_without_a_public_url_the_bridge_gives_its_own(make_app: Callable[..., Flask]) -> None:
    browser = Browser(make_app(PUBLIC_URL="", PORT="8123").test_client(), "password of the tests")
    assert "http://127.0.0.1:8123/webhooks/stripe<" in row(browser.get("/sources").text, "stripe")


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_source_that_sent_something_lately_and_is_connected_no_more_is_pointed_out(
    make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    def page(**variables: str) -> str:
        return Browser(make_app(**variables).test_client(), "password of the tests").get("/sources").text

    make_app().test_client().post("/webhooks/stripe", **signed(checkout(1)))
    assert "no longer connected" not in page()
    assert "<b>Stripe</b> is no longer connected" in page(STRIPE_WEBHOOK_SECRET="")
    change(ledger, "UPDATE events SET received_at = received_at - ?", 8 * 86_400_000)
    assert "no longer connected" not in page(STRIPE_WEBHOOK_SECRET="")
    assert "PUBLIC_URL" in page(PUBLIC_URL="")
    assert "PUBLIC_URL" not in page(PUBLIC_URL="https://bridge.example")


def test_it_counts_what_came_by_outcome_and_names_the_last(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    assert "–" in row(browser.get("/sources").text, "stripe")
    for number in (1, 2):
        post(checkout(number))
    post(checkout(1, event_id="evt_again"))
    (last,) = one(ledger, "SELECT MAX(id) FROM events")
    shown = row(browser.get("/sources").text, "stripe")
    assert '<span class="badge sale">sale</span> <span class="num">2</span>' in shown
    assert '<span class="badge duplicate">duplicate</span> <span class="num">1</span>' in shown
    assert f'href="/events/{last}"' in shown


def test_it_counts_what_was_refused_by_reason_over_all_processes(browser: Browser, ledger: Ledger) -> None:
    assert ">none<" in row(browser.get("/sources").text, "stripe")
    with ledger.write() as tx:
        now = tx.now()
        add_refusals(tx, {("stripe", "too old"): 7, ("stripe", "wrong"): 1200}, now)
        add_refusals(tx, {("stripe", "too old"): 9}, now - 8 * 86_400_000)
    shown = row(browser.get("/sources").text, "stripe")
    assert '<span class="badge dead">too old</span> <span class="num">7</span>' in shown
    assert '<span class="badge dead">wrong signature</span> <span class="num">1,200</span>' in shown


def test_no_secret_is_ever_on_the_page(browser: Browser) -> None:
    for page in (browser.get("/sources").text, browser.submit("/sources/jotform/url").text):
        for secret in (STRIPE_SECRET, TYPEFORM_SECRET, "password of the tests", "api token of the tests"):
            assert secret not in html.unescape(page)


def test_a_token_is_shown_once_an_operator_asks_and_that_is_recorded(browser: Browser, ledger: Ledger) -> None:
    page = browser.get("/sources").text
    assert TOKEN not in page
    assert "Show token" in page
    answer = browser.submit("/sources/jotform/url")
    assert f"https://bridge.example/webhooks/jotform/{TOKEN}" in row(answer.text, "jotform")
    assert answer.headers["Cache-Control"] == "no-store"
    assert one(ledger, "SELECT actor, action, subject FROM audit") == ("Grace", "show url", "source jotform")
    assert TOKEN not in browser.get("/sources").text
    with browser.client.session_transaction() as session:
        assert TOKEN not in str(dict(session))


def test_a_viewer_is_never_shown_a_token(app: Flask, ledger: Ledger) -> None:
    viewer = Browser(app.test_client(), VIEWER)
    page = viewer.get("/sources")
    assert page.status_code == 200
    assert "Show token" not in page.text
    answer = viewer.submit("/sources/jotform/url")
    assert answer.status_code == 403
    assert TOKEN not in page.text + answer.text
    assert count(ledger, "audit") == 0


def test_the_token_needs_the_token_of_the_session_and_a_post(browser: Browser) -> None:
    assert TOKEN not in browser.client.post("/sources/jotform/url", data={"csrf": "another"}).text
    assert browser.get("/sources/jotform/url").status_code == 405


@pytest.mark.parametrize("name", ["stripe", "fillout", "nowhere", "<script>"])
def test_there_is_no_token_to_show_where_there_is_none(browser: Browser, name: str) -> None:
    assert browser.submit(f"/sources/{name}/url").status_code == 404


def test_who_is_not_logged_in_is_sent_to_the_login(web: FlaskClient) -> None:
    assert web.get("/sources").headers["Location"].startswith("/login?next=")
    assert web.post("/sources/jotform/url").status_code == 401


def test_a_source_of_bridge_toml_is_listed_and_its_title_is_text(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text('[sources.own_form]\nkind = "lead"\ntitle = "<script>alert(1)</script>"\nsignature = "none"\n')
    app = make_app(BRIDGE_CONFIG=str(config))
    page = Browser(app.test_client(), "password of the tests").get("/sources").text
    assert "<script>alert" not in page
    assert "OWN_FORM_" in row(page, "own_form")


def test_a_test_event_of_a_source_with_a_token_or_a_handshake_key_is_taken(
    make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    app = make_app(JOTFORM_PATH_TOKEN=TOKEN, WUFOO_WEBHOOK_SECRET="the handshake key")
    browser = Browser(app.test_client(), "password of the tests")
    for name in ("jotform", "wufoo"):
        browser.get("/sources")
        browser.submit(f"/sources/{name}/test")
    with ledger.read() as tx:
        rows = tx.run("SELECT source, outcome FROM events ORDER BY id").all()
    assert [tuple(row) for row in rows] == [("jotform", "lead"), ("wufoo", "lead")]


def references(number: int) -> dict[str, Any]:
    return {"client_reference_id": f"order_{number}", "customer_details": {"email": f"buyer{number}@example.com"}}


def test_references_that_look_like_order_numbers_are_pointed_out(
    browser: Browser, post: Callable[[bytes], Any], make_app: Callable[..., Flask]
) -> None:
    for number in range(9):
        post(checkout(number, **references(number)))
    assert "STRIPE_REFERENCE" not in browser.get("/sources").text
    post(checkout(9, **references(9)))
    assert "Each of the newest 10 client_reference_ids was seen once." in browser.get("/sources").text
    ignoring = Browser(make_app(STRIPE_REFERENCE="ignore").test_client(), "password of the tests")
    assert "STRIPE_REFERENCE" not in ignoring.get("/sources").text
    post(checkout(10, **references(9)))
    assert "STRIPE_REFERENCE" not in browser.get("/sources").text


def test_references_that_change_with_each_order_of_a_buyer_are_pointed_out_early(
    browser: Browser, post: Callable[[bytes], Any]
) -> None:
    for number in range(2):
        post(checkout(number, **{**references(number), "customer_details": {"email": "one@example.com"}}))
    assert "one buyer came again (1 did)" in browser.get("/sources").text
