"""The destination's page: what is wrong with it in its own words, what to do, and trying a token before money goes through it."""

import html
import json
import re
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.ledger.engine import Ledger
from tests.conftest import FakeDestination
from tests.support.makers import change, checkout, count, one, settle, signed
from tests.web.conftest import Browser

REFUSAL = '{"error":{"message":"API key expired on 2026-11-29"}}'


@pytest.fixture
def real(make_app: Callable[..., Flask], destination: FakeDestination) -> Browser:
    """A web that sends to a destination of the test, and somebody who is logged in."""
    app = make_app(
        DESTINATION_URL=destination.url, DESTINATION_TOKEN="a-configured-token", DESTINATION_ALLOW_PRIVATE="1"
    )
    return Browser(app.test_client(), "password of the tests")


def text_of(answer: TestResponse) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]+>", "", answer.text)))


def livemode(number: int) -> bytes:
    """A checkout of Stripe's live mode."""
    return json.dumps({**json.loads(checkout(number)), "livemode": True}).encode()


def refuse(browser: Browser, ledger: Ledger) -> None:
    browser.client.post("/webhooks/stripe", **signed(livemode(1)))
    settle(ledger, "unauthorized", retry=True, status=401, error="answered 401", answer=REFUSAL, destination="main")
    assert one(ledger, "SELECT paused_at IS NOT NULL FROM destinations WHERE name = 'main'")[0]


def test_a_destination_that_refuses_the_token_is_shown_with_its_words_and_the_remedy(
    real: Browser, ledger: Ledger
) -> None:
    refuse(real, ledger)
    text = text_of(real.get("/destination"))
    assert "main paused" in text
    assert "The destination said: “API key expired on 2026-11-29”" in text
    assert "Fix DESTINATION_TOKEN (or the URL) and reload the configuration: forwarding resumes by itself." in text


def test_buttons_and_notices_follow_the_state_on_an_open_page(real: Browser, ledger: Ledger) -> None:
    def live() -> str:
        page = real.client.get("/destination", headers={"X-Live": "1"}).text
        return page.split('data-live="state-main"')[1].split("</section>")[0]

    assert ">Pause</button>" in live()
    refuse(real, ledger)
    assert ">Resume</button>" in live()
    assert ">Pause</button>" not in live()
    assert 'data-state="paused"' in live()


def test_resuming_promises_no_more_than_it_knows(real: Browser, ledger: Ledger) -> None:
    refuse(real, ledger)
    real.submit("/destination/main/resume")
    text = text_of(real.get("/destination"))
    assert "Resumed main: the next delivery shows whether it is accepted." in text
    assert "main healthy" in text


def test_a_pause_by_hand_asks_for_no_token(real: Browser, ledger: Ledger) -> None:
    real.submit("/destination/main/pause", reason="moving house")
    text = text_of(real.get("/destination"))
    assert "moving house" in text
    assert "It stays paused until you resume it." in text
    assert "reload the configuration" not in text


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (422, "Main accepts the token and reads requests in format events (422 to an empty one)"),
        (401, "Main does not accept the token (401)"),
        (403, "Main answers 403"),
        (404, "check its URL"),
        (200, "accepts an empty request (200)"),
        (500, "Main answers 500"),
    ],
)
@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_token_is_tried_with_a_request_that_makes_no_conversion(
    real: Browser, ledger: Ledger, destination: FakeDestination, status: int, said: str
) -> None:
    destination.answer = lambda _request: (status, {}, b"{}")
    real.submit("/destination/main/try-token")
    page = real.get("/destination")
    assert said in text_of(page)
    assert ("notice ok" in page.text) == (status == 422)
    (request,) = destination.requests
    assert request["json"] == {}
    assert request["headers"]["authorization"] == "Bearer a-configured-token"
    assert [count(ledger, table) for table in ("events", "deliveries", "attempts")] == [0, 0, 0]
    assert one(ledger, "SELECT actor, action, subject FROM audit") == ("Grace", "try token", "destination main")


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_another_token_is_tried_and_not_kept(real: Browser, ledger: Ledger, destination: FakeDestination) -> None:
    answers = {"Bearer a-new-token": 422}
    destination.answer = lambda request: (answers.get(request["headers"]["authorization"], 401), {}, b"{}")
    real.submit("/destination/main/try-token", token=" a-new-token\n")
    page = real.get("/destination")
    assert "accepts the token" in text_of(page)
    assert "with the token given" in text_of(page)
    assert "a-new-token" not in page.text
    assert "a-new-token" not in str(one(ledger, "SELECT actor, action, subject, detail FROM audit"))
    real.submit("/destination/main/try-token", token="snow☃man")
    assert "The token must be printable ASCII characters" in text_of(real.get("/destination"))
    assert len(destination.requests) == 1


def test_a_destination_that_fails_says_why(real: Browser, ledger: Ledger) -> None:
    real.client.post("/webhooks/stripe", **signed(livemode(1)))
    settle(
        ledger,
        "transient",
        retry=True,
        status=503,
        error="answered 503",
        answer="down for maintenance",
        destination="main",
    )
    change(ledger, "UPDATE destinations SET failures = 8")
    text = text_of(real.get("/destination"))
    assert "main recovering" in text
    assert "main is not responding (answered 503)" in text
    assert "The destination said: “down for maintenance”" in text


# test events


@pytest.mark.parametrize("source", ["stripe", "typeform"])
@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_test_event_for_a_real_destination_is_confirmed_and_marked(
    real: Browser, ledger: Ledger, source: str
) -> None:
    asked = real.submit(f"/sources/{source}/test")
    assert asked.status_code == 200
    assert "It goes to your real destination main" in text_of(asked)
    assert count(ledger, "events") == 0
    answer = real.submit(f"/sources/{source}/test", confirmed="1")
    assert answer.status_code == 302
    (payload,) = one(ledger, "SELECT payload FROM deliveries")
    assert '"test":true' in payload.replace(" ", "")
    assert one(ledger, "SELECT outcome FROM events")[0] in ("sale", "lead")


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_other_test_events_of_stripe_are_still_ignored(real: Browser, ledger: Ledger) -> None:
    real.submit("/sources/stripe/test", confirmed="1")
    body = checkout(5)
    assert real.client.post("/webhooks/stripe", **signed(body)).get_json()["outcome"] == "ignored"


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_viewer_can_neither_try_a_token_nor_send_a_test_event(
    make_app: Callable[..., Flask], destination: FakeDestination
) -> None:
    app = make_app(
        DESTINATION_URL=destination.url,
        DESTINATION_TOKEN="a-configured-token",
        DESTINATION_ALLOW_PRIVATE="1",
        DASHBOARD_VIEWER_PASSWORD="viewers may look",
    )
    viewer = Browser(app.test_client(), "viewers may look")
    for path in ("/destination/main/try-token", "/sources/stripe/test"):
        assert viewer.submit(path, confirmed="1").status_code == 403
    assert destination.requests == []
