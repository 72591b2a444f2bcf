"""Sending again what was delivered: one, a window of time, and to another destination; on the page, by the API and a command."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from app.ledger.engine import Ledger
from tests.support.makers import begin, change, checkout, count, one, settle
from tests.web.conftest import API, Browser

DAY_MS = 86_400_000


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def hidden(page: str) -> dict[str, str]:
    """The fields that a page's last form carries."""
    form = page.split("</main>")[0].rsplit('method="post"', 1)[1].split("</form>")[0]
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    found.pop("csrf", None)
    return {name: html.unescape(value) for name, value in found.items()}


@pytest.fixture
def days(post: Callable[[bytes], Any], ledger: Ledger) -> list[int]:
    """Sales that were delivered 0 to 5 days before now, the newest first, and one that is dead."""
    for number in range(1, 7):
        post(checkout(number))
    settle(ledger, "delivered")
    with ledger.read() as tx:
        ids = list(tx.run("SELECT id FROM deliveries ORDER BY id DESC").scalars())
        events = list(tx.run("SELECT id FROM events ORDER BY id DESC").scalars())
        now = tx.now()
    for ago, (delivery, event) in enumerate(zip(ids, events, strict=True)):
        at = now - ago * DAY_MS
        change(ledger, "UPDATE deliveries SET created_at = ?, delivered_at = ? WHERE id = ?", at, at + 1000, delivery)
        change(ledger, "UPDATE conversions SET created_at = ? WHERE event_id = ?", at, event)
        change(ledger, "UPDATE events SET received_at = ? WHERE id = ?", at, event)
    post(checkout(7))
    settle(ledger, "permanent", status=422)
    return ids


def due(ledger: Ledger) -> list[int]:
    with ledger.read() as tx:
        return list(tx.run("SELECT id FROM deliveries WHERE status = 'pending' ORDER BY id DESC").scalars())


def test_a_window_is_previewed_confirmed_and_sent_with_the_same_key(
    browser: Browser, days: list[int], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.actions.bulk.BULK", 2)
    asked = browser.get("/resend?destination=sandbox&since=100h&until=20h&kind=sale")
    assert asked.status_code == 200
    text = text_of(asked.text)
    assert "Send 4 deliveries again?" in text
    assert "4 Sales" in text
    assert "79.96 USD" in text
    assert "autofocus>Cancel</a>" in asked.text
    assert due(ledger) == []
    before = one(ledger, "SELECT payload, dedupe_key FROM deliveries WHERE id = ?", days[1])
    page = browser.submit("/resend", **hidden(asked.text)).text
    while "Working…" in page:
        page = browser.submit("/resend", **hidden(page)).text
    assert "4 deliveries are due now" in text_of(page)
    assert due(ledger) == days[1:5]
    claimed = {c.id: c for c in begin(ledger)}
    assert (claimed[days[1]].payload, claimed[days[1]].dedupe_key) == tuple(before)
    assert "replay 4 deliveries delivered" in text_of(browser.get("/audit").text)


def test_one_that_is_delivered_is_sent_again_after_a_question(
    browser: Browser, days: list[int], ledger: Ledger
) -> None:
    assert "Send again…" in browser.get(f"/deliveries/{days[0]}").text
    page = browser.get(f"/deliveries/{days[0]}/again").text
    assert "19.99 USD" in text_of(page)
    assert "409" in page
    assert "autofocus>Cancel</a>" in page
    assert due(ledger) == []
    assert browser.submit(f"/deliveries/{days[0]}/replay", **hidden(page)).status_code == 302
    assert due(ledger) == [days[0]]
    assert browser.get("/deliveries/999999/again").status_code == 404


def test_the_api_and_the_command_send_the_same_window(
    browser: Browser, days: list[int], ledger: Ledger, ledger_url: str, bridge: Callable[..., Result]
) -> None:
    def ask(body: dict[str, Any]) -> Any:
        return browser.client.post("/api/v1/resend", headers=API, json=body)

    assert ask({}).status_code == 422
    assert ask({"since": "100h", "to": "nowhere"}).status_code == 404
    assert ask({"since": "100h", "until": "20h", "source": "typeform"}).json["replayed"] == 0
    assert ask({"since": "100h", "until": "40h"}).json == {"replayed": 3, "left_alone": 0, "next": None}
    assert due(ledger) == days[2:5]
    command = ("replay", "--status", "delivered", "--since", "100h")
    assert bridge(*command, DATABASE_URL=ledger_url).exit_code == 2
    said = bridge(*command, "--until", "20h", "--destination", "sandbox", "--force", DATABASE_URL=ledger_url)
    assert said.exit_code == 0, said.output
    assert "1 delivered: 1 sale; Sales of 19.99 USD." in said.output
    assert "1 due now, 0 skipped." in said.output
    assert due(ledger) == days[1:5]


def test_a_window_goes_to_a_destination_that_was_added_later(
    days: list[int], ledger: Ledger, make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    (tmp_path / "bridge.toml").write_text(
        '[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\nkinds = ["sale"]\n'
    )
    app = make_app(BRIDGE_CONFIG=str(tmp_path / "bridge.toml"), CRM_TOKEN="token-of-the-crm")
    browser = Browser(app.test_client(), "password of the tests")
    asked = browser.get("/resend?since=100h&until=20h&to=crm").text
    assert "Send 4 conversions to crm?" in text_of(asked)
    for times in (1, 2):  # a second time, all of it is there
        page = browser.submit("/resend", **hidden(asked)).text
        while "Working…" in page:
            page = browser.submit("/resend", **hidden(page)).text
        assert ("4 deliveries are due now" in text_of(page)) == (times == 1)
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE destination = 'crm'") == (4,)
    assert count(ledger, "deliveries") == len(days) + 1 + 4


def test_what_is_wrong_is_said_and_a_read_only_login_sends_nothing(
    make_app: Callable[..., Flask], days: list[int], ledger: Ledger
) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="only looking")
    browser = Browser(app.test_client(), "password of the tests")
    for query, problem in (
        ("since=yesterday", "Since must be a date"),
        ("since=1h&to=nowhere", "There is no destination called nowhere"),
        ("since=1h&kind=x", "Kind must be one of"),
    ):
        page = browser.get(f"/resend?{query}")
        assert page.status_code == 422
        assert problem in text_of(page.text)
    assert "Nothing matches" in browser.get("/resend?since=2999-01-01").text
    viewer = Browser(app.test_client(), "only looking")
    assert viewer.get("/resend").status_code == 403
    assert viewer.submit("/resend", since="100h").status_code == 403
    assert "Send again" not in viewer.get(f"/deliveries/{days[0]}").text
    assert due(ledger) == []
