"""The page of the processes and their configuration: what each loaded, what it rejected, and the button."""

import html
from collections.abc import Callable

from flask import Flask

from app.ledger.engine import Ledger
from app.ledger.upkeep.processes import Process, report
from tests.web.conftest import Browser


def add(ledger: Ledger, process: Process) -> None:
    ledger.transact(lambda tx: report(tx, process))


def test_a_rejected_configuration_is_shown_with_its_reason_on_the_page_and_the_overview(
    browser: Browser, ledger: Ledger
) -> None:
    problem = "bridge.toml: sources.<b>x</b>.kind: must be sale or lead"
    changed = ("STRIPE_WEBHOOK_SECRET",)
    add(ledger, Process("one", "web", "host-1", 4210, 0, 2, 1_780_000_000_000, None, changed, ("PORT",)))
    add(ledger, Process("two", "worker", "host-<i>2</i>", 812, 0, 2, 1_780_000_000_000, problem))
    page = browser.get("/configuration").text
    assert "Changed: STRIPE_WEBHOOK_SECRET." in page
    assert "Needs a restart: PORT." in page
    assert html.escape(problem) in page
    assert "<i>2</i>" not in page
    assert "A reload was rejected, and the old configuration stays" in browser.get("/").text
    add(ledger, Process("two", "worker", "host-2", 812, 0, 3, 1_780_000_001_000))
    assert "A reload was rejected" not in browser.get("/").text
    assert "A new value waits for a restart: PORT." in html.unescape(browser.get("/").text)


def test_a_reload_that_nobody_answers_says_so_and_a_viewer_cannot_ask(
    browser: Browser, make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    answer = browser.submit("/configuration/reload")
    assert answer.status_code == 302
    assert "No process runs" in browser.get("/configuration").text
    viewer = Browser(make_app(DASHBOARD_VIEWER_PASSWORD="password of viewers").test_client(), "password of viewers")
    assert "Reload</button>" not in viewer.get("/configuration").text
    assert viewer.submit("/configuration/reload").status_code == 403
