"""What goes wrong is reported on a page of ours to people, and as JSON to programs."""

import pytest
from flask.testing import FlaskClient

from app.ledger.engine import Ledger
from tests.web.conftest import API, Browser

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@sqlite_alone
@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nowhere", 404, "This page does not exist."),
        ("/deliveries/12345", 404, "There is no delivery 12345."),
        ("/deliveries?before=x", 422, "Before must be a whole number"),
        ("/sources/stripe/url", 405, "This page does not support that method."),
        ("/persons/1/forget", 404, "There is no person 1."),
    ],
)
def test_people_get_a_page_that_says_it_and_leads_on(browser: Browser, path: str, status: int, says: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == status
    assert answer.mimetype == "text/html"
    assert says in answer.text
    assert "Go to Overview" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "werkzeug" not in answer.text.lower()


@sqlite_alone
def test_a_stranger_gets_no_page_but_the_way_to_the_login(web: FlaskClient) -> None:
    answer = web.post("/deliveries/1/replay")
    assert answer.status_code == 401
    assert 'href="/login"' in answer.text
    assert "Audit log" not in answer.text
    assert "Audit log" not in web.get("/nowhere").text


@sqlite_alone
def test_what_an_address_says_is_text(browser: Browser) -> None:
    answer = browser.client.get("/deliveries", query_string={"before": "<script>x</script>"})
    assert answer.status_code == 422
    assert "<script>x" not in answer.text


@sqlite_alone
def test_programs_get_json(web: FlaskClient) -> None:
    assert web.get("/api/v1/deliveries/12345", headers=API).get_json()["error"] == "there is no delivery 12345"
    assert web.delete("/webhooks/stripe").mimetype == "application/json"


@sqlite_alone
def test_a_ledger_that_is_away_is_told_on_a_page_with_when_to_ask_again(
    browser: Browser, ledger: Ledger, ledger_url: str
) -> None:
    from tests.support.makers import away

    with away(ledger, ledger_url):
        answer = browser.get("/failed")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "Temporarily unavailable" in answer.text
    assert browser.get("/failed").status_code == 200
