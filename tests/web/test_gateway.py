"""Waiting, on a loop of the test; the real server's part is in tests/stack/test_gateway.py."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from app.ledger.engine import Ledger
from app.model import Inbound
from app.telemetry.measures import Measures
from app.web.public.webhooks import Answers
from app.web.server.bodies import Bodies
from app.web.server.gateway import Gateway, read_headers
from app.web.server.patience import Patience
from tests.conftest import wait_for
from tests.support.makers import checkout, count, stripe_headers


class Proto:
    """One request of RSGI: its body in chunks, each after a pause, and the answer."""

    def __init__(self, *chunks: bytes, pause: float = 0.0) -> None:
        self._chunks = chunks
        self._pause = pause
        self.status: int | None = None
        self.sent: list[bytes] = []

    async def __call__(self) -> bytes:
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self) -> Any:
        for chunk in self._chunks:
            await asyncio.sleep(self._pause)
            yield chunk

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.sent = status, dict(headers), [body]


def run(gateway: Any, proto: Proto, path: str = "/webhooks/stripe", method: str = "POST", **headers: str) -> Proto:
    async def one() -> None:
        gateway.__rsgi_init__(asyncio.get_running_loop())
        scope = SimpleNamespace(
            method=method, path=path, query_string="", headers=headers, server="127.0.0.1:80", client="[::1]:5", scheme="http",
            http_version="1", authority="bridge.example",
        )  # fmt: skip
        await gateway.__rsgi__(scope, proto)
        await asyncio.sleep(0)

    asyncio.run(one())
    return proto


def over(application: Any, intake: Any = None, writer: Any = None, **options: Any) -> Gateway:
    intake = intake or SimpleNamespace(admit_body=lambda *_: None, read=lambda *_: None)
    writer = writer or SimpleNamespace(patience_seconds=0.01, submit=lambda *_: None)
    return Gateway(application, intake, writer, None, Answers(Measures(), lambda *_: None), 2, **options)


def test_a_body_that_does_not_come_is_given_up() -> None:
    gateway = over(None, bodies=Bodies(seconds=0.05))
    proto = run(gateway, Proto(b"{", b"}", pause=1), **{"content-length": "2"})
    assert proto.status == 408
    assert b"no whole body" in proto.sent[0]


def test_a_webhook_that_the_ledger_does_not_settle_is_given_up() -> None:
    proto = run(over(None), Proto(b"{}"), **{"content-length": "2"})
    assert proto.status == 503
    assert proto.headers["retry-after"]


def test_only_those_that_wait_too_long_are_given_up() -> None:
    given_up: list[str] = []

    async def wait() -> None:
        patience = Patience(0.01, given_up.append)
        patience.begin("answered at once")
        patience.begin("never answered")
        patience.end("answered at once")
        while not given_up:
            await asyncio.sleep(0.001)
        patience.begin("begun later")
        while len(given_up) < 2:
            await asyncio.sleep(0.001)

    asyncio.run(wait())
    assert given_up == ["never answered", "begun later"]


def test_nothing_stays_of_an_event_that_was_answered(app: Flask) -> None:
    """Not even until the garbage collector comes: at full load, that would be hundreds of events with their bodies."""
    body = checkout()

    def kept() -> list[Inbound]:
        return [thing for thing in gc.get_objects() if isinstance(thing, Inbound) and thing.body == body]

    headers = {name.lower(): value for name, value in stripe_headers(body).items()}
    gc.disable()
    try:
        answer = run(app.extensions["gateway"], Proto(body), **headers, **{"content-length": str(len(body))})
        assert answer.status == 200
        wait_for(lambda: not kept())
    finally:
        gc.enable()


def test_a_body_that_comes_slowly_and_whole_is_taken(app: Flask, ledger: Ledger) -> None:
    body = checkout()
    half = len(body) // 2
    headers = {name.lower(): value for name, value in stripe_headers(body).items()}
    proto = Proto(body[:half], body[half:], pause=0.05)
    answer = run(app.extensions["gateway"], proto, **headers, **{"content-length": str(len(body))})
    assert answer.status == 200
    assert b'"sale"' in answer.sent[0]
    assert count(ledger, "deliveries") == 1


def test_a_bug_in_taking_a_webhook_is_no_500(app: Flask, ledger: Ledger) -> None:
    gateway = app.extensions["gateway"]
    gateway._writer = None  # what no caller would do: stands for a bug
    body = checkout()
    headers = {name.lower(): value for name, value in stripe_headers(body).items()}
    answer = run(gateway, Proto(body), **headers, **{"content-length": str(len(body))})
    assert answer.status == 200, "the view had the last word"
    assert count(ledger, "events") == 1


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([("a", "1"), ("b", "2")], {"a": "1", "b": "2"}),
        ([("a", "1"), ("a", "2"), ("a", "3")], {"a": "1, 2, 3"}),
        ([("cookie", "a=1"), ("cookie", "b=2")], {"cookie": "a=1; b=2"}),
    ],
)
def test_repeated_headers_are_joined(items: list[tuple[str, str]], expected: dict[str, str]) -> None:
    assert read_headers(items) == expected
