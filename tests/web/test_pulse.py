"""Title, icon and the counts in the navigation follow the verdict on every page, and cost a page next to nothing."""

import re
from collections.abc import Callable
from typing import Any

from app.bootstrap import make_health
from app.config.settings import Settings
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.ledger.reading.summary.pulse import Pulse
from app.web import pulse
from app.web.pulse import PulseKeeper
from tests.conftest import wait_for
from tests.support.makers import away, change, checkout, settle
from tests.web.conftest import Browser


def shown(text: str) -> tuple[str, str, dict[str, str]]:
    """The title, the name of the icon, and the words of the badges by page."""
    title = re.findall("<title>(.*?)</title>", text)[0]
    icon = re.findall('<link rel="icon"[^>]*/static/([a-z-]+).svg', text)[0]
    badges = re.findall(
        'data-live="count-([a-z.]+)">(?:<span aria-hidden="true">.*?</span><span class="unseen">(.*?)</span>)?', text
    )
    return title, icon, dict(badges)


def test_every_page_shows_what_is_wrong_in_title_icon_and_navigation(
    post: Callable[[bytes], Any], ledger: Ledger, browser: Browser, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pulse, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(pulse, "QUICK_SECONDS", 1000.0)
    with ledger.write() as tx:
        now = tx.now()
    statement = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('h', 1, '', ?, ?)"
    change(ledger, statement, now, now + 60_000)
    none = {"dashboard.failed": "", "dashboard.events": "", "inbound.index": ""}
    assert shown(browser.get("/audit").text) == ("Audit log · Conversion Bridge", "icon", none)
    post(checkout(1, currency=None))
    found = shown(browser.get("/audit").text)
    assert found == ("(1) Audit log · Conversion Bridge", "icon-warn", none | {"dashboard.events": "(1 parked)"})
    post(checkout(2))
    settle(ledger, "permanent", status=422)
    with ledger.write() as tx:
        add_refusals(tx, {("typeform", "wrong"): 40}, tx.now())
    everything = {
        "dashboard.failed": "(1 failed permanently)", "dashboard.events": "(1 parked)", "inbound.index": "(40 refused requests)"
    }  # fmt: skip
    for path in ("/", "/audit", "/persons", "/search?q=p1"):
        title, icon, badges = shown(browser.get(path).text)
        assert (title[:4], icon, badges) == ("(3) ", "icon-bad", everything), path
    live = browser.client.get("/pulse", headers={"X-Live": "1"})
    assert '<meta name="problems" content="3">' in live.text
    assert "icon-bad.svg" in live.text
    again = browser.client.get("/pulse", headers={"X-Live": "1", "If-None-Match": live.headers["ETag"]})
    assert again.status_code == 304
    login = browser.client.application.test_client().get("/login").text
    assert shown(login) == ("Log in · Conversion Bridge", "icon", {})


def test_it_is_read_once_for_many_pages_and_a_slow_one_is_not_waited_for(
    ledger: Ledger, ledger_url: str, make_settings: Callable[..., Settings], monkeypatch: Any
) -> None:
    now, asked = [100.0], []

    def read(*_: object) -> Pulse:
        asked.append(now[0])
        return Pulse("bad", len(asked), 0, 0, 0)

    monkeypatch.setattr(pulse, "pulse", read)
    monkeypatch.setattr(pulse, "QUICK_SECONDS", 1000.0)
    keeper = PulseKeeper(ledger, make_health(make_settings()), lambda: now[0])
    assert [keeper.get() for _ in range(5)] == [Pulse("bad", 1, 0, 0, 0)] * 5
    now[0] += pulse.FRESH_SECONDS
    assert keeper.get() == Pulse("bad", 2, 0, 0, 0)
    monkeypatch.setattr(pulse, "QUICK_SECONDS", -1.0)
    now[0] += pulse.FRESH_SECONDS
    assert keeper.get() == Pulse("bad", 2, 0, 0, 0), "the known one, while a thread reads"
    wait_for(lambda: len(asked) == 3)
    now[0] += pulse.STALE_SECONDS
    assert keeper.get() == Pulse("bad", 4, 0, 0, 0), "too old to be shown"
    now[0] += pulse.STALE_SECONDS
    monkeypatch.undo()
    with away(ledger, ledger_url):
        assert keeper.get() is None
