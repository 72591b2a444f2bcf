"""What strangers learn when the ledger cannot be reached: that it cannot, and nothing of where it is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import make_url

from app.ledger.engine import Ledger
from tests.support.makers import checkout, execute_beside, signed
from tests.web.conftest import Browser


def take_away(ledger: Ledger, url: str) -> None:
    ledger.close()
    if ledger.is_sqlite:
        path = Path(str(make_url(url).database))
        path.rename(path.with_suffix(".away"))
        path.mkdir()
    else:
        name = make_url(url).database
        execute_beside(url, f"ALTER DATABASE {name} RENAME TO {name}_away")


def return_unsent(ledger: Ledger, url: str) -> None:
    if not ledger.is_sqlite:
        name = make_url(url).database
        execute_beside(url, f"ALTER DATABASE {name}_away RENAME TO {name}")


@pytest.fixture
def down(app: Flask, ledger: Ledger, ledger_url: str, browser: Browser) -> Iterator[Flask]:
    """An app whose ledger went away after somebody had logged in."""
    take_away(ledger, ledger_url)
    yield app
    return_unsent(ledger, ledger_url)


def traces_of(url: str) -> list[str]:
    """What would say where the ledger is, or what its driver says of it."""
    parts = make_url(url)
    return [str(parts.database), "ledger.db", "PGSQL", "/tmp/", "connection to server", "unable to open", "FATAL"]


def test_no_answer_to_a_stranger_says_where_the_ledger_is(down: Flask, ledger_url: str, browser: Browser) -> None:
    web = down.test_client()
    statuses = {}
    for rule in down.url_map.iter_rules():
        path = re.sub(r"<[^>]*>", "1", rule.rule.replace("<source>", "stripe"))
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            for client in (web, browser.client):
                answer = client.open(path, method=method, headers={"Authorization": "Bearer api token of the tests"})
                statuses[method, path] = answer.status_code
                for name in traces_of(ledger_url):
                    assert name not in answer.text, (method, path)
    signed_answer = web.post("/webhooks/stripe", **signed(checkout()))
    assert signed_answer.status_code == 503
    assert signed_answer.headers["Retry-After"]
    assert not any(name in signed_answer.text for name in traces_of(ledger_url))
    assert (statuses["GET", "/readyz"], statuses["GET", "/metrics"], statuses["GET", "/healthz"]) == (503, 503, 200)


def test_the_page_says_that_the_ledger_is_not_available(down: Flask, browser: Browser) -> None:
    assert isinstance(browser, Browser)
    answer = browser.get("/deliveries")
    assert answer.status_code == 503
    assert "The ledger cannot be used now" in answer.text
