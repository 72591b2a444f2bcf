"""One request that no schema allows shows whether host, path, token and format are right."""

import json
from typing import Any

import pytest

from app.destinations.formats.base import Answered, Sent, Verdict
from app.destinations.formats.events import Events
from app.destinations.formats.registry import FORMATS, format_of
from app.destinations.probe import try_out, try_token
from app.destinations.target import Destination
from tests.conftest import FakeDestination


@pytest.mark.parametrize("name", ["track", "dub"])
@pytest.mark.parametrize(
    ("status", "headers", "level", "message"),
    [
        (400, {}, "ok", "reads requests in format"),
        (422, {}, "ok", "reads requests in format"),
        (401, {}, "wrong", "does not accept the token"),
        (403, {}, "wrong", "plan, role or scope"),
        (404, {}, "wrong", "/track/lead (404): check its URL"),
        (
            308,
            {"Location": "https://www.example.com/track/lead?x=secret"},
            "wrong",
            "redirects to https://www.example.com/track/lead (308)",
        ),
        (200, {}, "warn", "accepts an empty request"),
        (503, {}, "warn", "answers 503"),
    ],
)
def test_the_refusal_of_an_empty_request_is_read(
    destination: FakeDestination, name: str, status: int, headers: dict[str, Any], level: str, message: str
) -> None:
    destination.answer = lambda _request: (status, headers, b"{}")
    trial = try_out(Destination("main", destination.url, "a-token", format_of(name), allow_private=True))
    assert trial is not None
    assert (trial.level, message in trial.text) == (level, True)
    assert "secret" not in trial.text
    (request,) = destination.requests
    assert request["json"] == {}
    assert request["headers"]["authorization"] == "Bearer a-token"
    assert request["headers"]["idempotency-key"].startswith("probe:")


def test_a_token_that_is_refused_in_the_destination_s_own_way_is_not_called_accepted(
    destination: FakeDestination,
) -> None:
    class Picky(Events):
        def verdict(self, answer: Answered, sent: Sent) -> Verdict:
            return Verdict("unauthorized" if b"OAuthException" in answer.body else "permanent")

    at = Destination("main", destination.url, "a-token", Picky(), allow_private=True)
    destination.answer = lambda _request: (400, {}, b'{"error":{"type":"OAuthException"}}')
    assert try_token(at).level == "wrong"
    destination.answer = lambda _request: (400, {}, b'{"error":{"type":"MissingField"}}')
    assert try_token(at).level == "ok"


def test_what_may_take_anything_is_not_tried(destination: FakeDestination) -> None:
    assert try_out(Destination("main", destination.url, "a-token", format_of("events"), allow_private=True)) is None
    assert destination.requests == []


@pytest.mark.parametrize(
    ("name", "host", "message"),
    [
        ("events", "api.cme.sh", "track"),
        ("events", "www.app.cutmeshort.com", "track"),
        ("events", "api.dub.co", "dub"),
        ("track", "api.dub.co", "dub"),
        ("dub", "api.cme.sh", "track"),
        ("track", "www.app.cutmeshort.com", "api.cme.sh"),
        ("dub", "api.dub.co", "rate = 18"),
    ],
)
def test_a_format_that_is_not_that_of_the_host_is_named(name: str, host: str, message: str) -> None:
    advice = list(format_of(name).advice(host, rate=None, sources=()))
    assert [message in one for one in advice] == [True]


@pytest.mark.parametrize("name", FORMATS)
def test_there_is_nothing_to_say_of_a_host_that_nobody_knows(name: str) -> None:
    for host in ("hooks.example.com", "notdub.co", "cme.sh.example", ""):
        assert list(format_of(name).advice(host, rate=None, sources=())) == []


def test_cutmeshort_s_own_host_and_net_amounts_at_dub_need_no_advice() -> None:
    assert list(format_of("track").advice("api.cme.sh", rate=None, sources=())) == []
    (advice,) = format_of("dub").advice("api.dub.co", rate=18, sources=(), net_of_tax=False)
    assert "net_of_tax" in advice
    assert list(format_of("dub").advice("api.dub.co", rate=18, sources=(), net_of_tax=True)) == []


def test_the_stripe_app_of_dub_would_count_twice() -> None:
    (advice,) = format_of("dub").advice("api.dub.co", rate=18, sources=["stripe"])
    assert "Stripe app" in advice


def test_an_empty_object_is_no_body_of_a_public_api() -> None:
    for name in FORMATS:
        wire = format_of(name)
        assert not wire.is_public_api or all(wire.problem(kind, json.loads("{}")) for kind in ("lead", "sale"))


@pytest.mark.parametrize(
    ("status", "body", "level", "message"),
    [
        (200, b'{"code":40105}', "wrong", "does not accept the token (200)"),
        (200, b'{"code":40002}', "ok", "it refuses an empty one"),
        (200, b'{"code":0}', "warn", "accepts an empty request"),
    ],
)
def test_a_preset_s_refusal_is_read_as_its_service_writes_it(
    destination: FakeDestination, status: int, body: bytes, level: str, message: str
) -> None:
    destination.answer = lambda _request: (status, {}, body)
    trial = try_token(Destination("main", destination.url, "a-token", format_of("tiktok"), allow_private=True))
    assert (trial.level, message in trial.text) == (level, True)
