"""The front door as the network finds it: clients that are slow, cut off, or send what no library would."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from app.sources.stripe.source import SOURCE
from tests.conftest import PATIENCE_SECONDS
from tests.support.makers import count
from tests.support.stack_parts import SECRET, Stack, purchase

pytestmark = pytest.mark.stack
TOKEN = "a-token-of-sixteen-characters"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One web on SQLite for all: what it does at the door is the same on every ledger."""
    home = tmp_path_factory.mktemp("gateway")
    url = f"sqlite:///{home / 'ledger.db'}"
    ledger = Ledger(url)
    upgrade(ledger)
    ledger.close()
    stack = Stack(
        home, url, f"unix://{home}/none.sock", "http://127.0.0.1:9", ELEMENTOR_PATH_TOKEN=TOKEN, WEB_THREADS="4"
    )
    stack.start("web")
    yield stack
    stack.close()


def ask(stack: Any, request: bytes, *, close: bool = False) -> bytes:
    """The beginning of the answer to raw bytes; close: go away at once."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall(request)
        if close:
            return b""
        answer = wire.recv(65536)
        while b"\r\n\r\n" not in answer and (more := wire.recv(65536)):
            answer += more
        return answer


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: bridge.example", *lines, "", ""]).encode()


def test_clients_that_send_half_a_body_stop_nobody(web):
    half = head("/webhooks/stripe", "Content-Length: 1000", "Stripe-Signature: t=1,v1=0") + b"{"
    wires = [socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS) for _ in range(100)]
    try:
        for wire in wires:
            wire.sendall(half)
        time.sleep(0.3)
        assert web.post(purchase()).json()["outcome"] == "sale"
        assert requests.get(f"{web.url}/login", timeout=PATIENCE_SECONDS).status_code == 200
    finally:
        for wire in wires:
            wire.close()
    assert web.post(purchase()).status_code == 200


def test_a_body_that_is_cut_off_is_no_event(web):
    before = count(web.ledger, "events")
    form = b"fields[email][value]=ada@example.com&fields[email][type]=email&form[id]=f2"
    lines = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form) + 20}")
    ask(web, head(f"/webhooks/elementor/{TOKEN}", *lines) + form, close=True)
    time.sleep(0.3)
    assert count(web.ledger, "events") == before
    assert "Traceback" not in web.log_path.read_text()


def test_a_chunked_body_is_taken_whole(web):
    form = b"fields[email][value]=ada@example.com&fields[email][type]=email&form[id]=f3"
    lines = ("Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (form[:9], form[9:])) + b"0\r\n\r\n"
    answer = ask(web, head(f"/webhooks/elementor/{TOKEN}", *lines) + chunks)
    assert b" 200 " in answer[:20]
    assert b'"lead"' in answer


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 10**30])
def test_what_is_announced_too_large_is_refused_unread(web, size):
    answer = ask(web, head("/webhooks/stripe", f"Content-Length: {size}"))
    assert answer.split(b" ")[1] in (b"413", b"400")
    assert size > 10**20 or b" 413 " in answer


def test_chunks_without_end_are_refused_past_the_limit(web):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall(head("/webhooks/stripe", "Transfer-Encoding: chunked"))
        with suppress(ConnectionError):  # it may be gone before the last of them; its answer is there all the same
            for _ in range(17):
                wire.sendall(chunk)
        assert wire.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/webhooks/stripe", "GET", 405),
        ("/webhooks/stripe", "PUT", 405),
        ("/webhooks/nobody", "POST", 404),
        ("/webhooks/stripe/token", "POST", 404),
        ("/webhooks/elementor/wrong", "POST", 401),
        ("/webhooks/elementor", "POST", 401),
        ("/webhooks/stripe?a=b", "POST", 401),
        ("//webhooks/stripe", "POST", 401),
        ("/webhooks/%ff%00", "POST", 404),
        ("/webhooks/", "POST", 404),
        ("/%e2%82%ac?q=%e2%82%ac", "GET", 404),
        ("*", "OPTIONS", 404),
    ],
)
def test_everything_else_is_for_flask_to_answer(web, path, method, status):
    answer = ask(web, head(path, "Content-Length: 2", method=method) + b"{}")
    assert int(answer.split(b" ")[1]) == status, answer


def test_a_header_in_two_lines_is_one_and_one_with_an_underscore_is_none(web):
    body = purchase()
    signature = SOURCE.sign(body, SECRET, datetime.now(UTC))["Stripe-Signature"]
    stamp, digest = signature.split(",")
    lines = (f"Stripe-Signature: {stamp}", f"Stripe-Signature: {digest}", f"Content-Length: {len(body)}")
    assert b" 200 " in ask(web, head("/webhooks/stripe", *lines) + body)[:20]
    lines = (f"Stripe_Signature: {signature}", f"Content-Length: {len(body)}")
    assert b" 401 " in ask(web, head("/webhooks/stripe", *lines) + body)[:20]


def test_a_token_opens_its_source_without_a_thread_of_flask(web):
    form = {"fields[email][value]": "ada@example.com", "fields[email][type]": "email", "form[id]": "f1"}
    answer = requests.post(f"{web.url}/webhooks/elementor/{TOKEN}", data=form, timeout=PATIENCE_SECONDS)
    assert json.loads(answer.text)["outcome"] == "lead"
    assert TOKEN not in web.log_path.read_text()
