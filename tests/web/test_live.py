"""The web as it really runs, under granian: what only a real server and real connections can show."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.ledger.engine import Ledger
from tests.conftest import PATIENCE_SECONDS, PYTHON, STRIPE_SECRET, wait_for
from tests.support.diagnosis import LOGS
from tests.support.empty_ledgers import empty_file
from tests.support.makers import checkout, count, one, stripe_headers
from tests.support.ports import Port

pytestmark = pytest.mark.stack
TOKEN = "path_token-of-the-tests"
MIB = 1024 * 1024


class Live:
    """One web process on a SQLite ledger, with no Redis; `ask` sends raw bytes and returns the raw answer."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger(empty_file(home / "ledger.db"))
        self._reserved = Port()
        self.port = self._reserved.number
        self.log = home / "log.txt"
        environment = {
            **os.environ,
            "BRIDGE_HOME": str(home),
            "REDIS_URL": f"unix://{home}/none.sock",
            "PORT": str(self.port),
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "ELEMENTOR_PATH_TOKEN": TOKEN,
            "DASHBOARD_PASSWORD": "password of the tests",
            "SECRET_KEY": "secret key of the tests",
            "SANDBOX": "1",
            "LOG_LEVEL": "debug",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([PYTHON, "-m", "app", "web"], env=environment, stdout=log, stderr=log)
        LOGS.append(self.log)
        wait_for(self._listens)

    def _listens(self) -> bool:
        with suppress(OSError):
            self.connect().close()
            return True
        return False

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def ask(self, *parts: bytes) -> bytes:
        with self.connect() as connection:
            with suppress(
                ConnectionError
            ):  # it may answer, and go, before it has read all: the answer is there all the same
                for part in parts:
                    connection.sendall(part)
            answer = b""
            with suppress(ConnectionError):
                while received := connection.recv(65536):
                    answer += received
            return answer

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)
        self.ledger.close()
        self._reserved.close()
        LOGS.remove(self.log)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("live"))
    yield server
    server.stop()


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]).encode("latin-1")


def chunks(body: bytes) -> list[bytes]:
    middle = len(body) // 2
    return [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:])] + [b"0\r\n\r\n"]


def test_a_chunked_body_is_verified_and_recorded_like_any_other(live: Live) -> None:
    body = checkout("chunked")
    signature = f"Stripe-Signature: {stripe_headers(body)['Stripe-Signature']}"
    answer = live.ask(head("/webhooks/stripe", signature, "Transfer-Encoding: chunked"), *chunks(body))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"outcome":"sale"' in answer


def test_a_body_over_the_limit_is_413_however_it_is_framed(live: Live) -> None:
    body = b"x" * 2 * MIB
    plain = live.ask(head("/webhooks/stripe", f"Content-Length: {len(body)}"), body)
    chunked = live.ask(head("/webhooks/stripe", "Transfer-Encoding: chunked"), *chunks(body))
    assert plain.startswith(b"HTTP/1.1 413 ")
    assert chunked.startswith(b"HTTP/1.1 413 ")


def test_bytes_in_a_signature_that_are_not_ascii_are_401(live: Live) -> None:
    body = checkout("latin")
    answer = live.ask(
        head("/webhooks/stripe", "Stripe-Signature: t=\xb2,v1=\xe9", f"Content-Length: {len(body)}"), body
    )
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_form_whose_connection_broke_off_is_no_event(live: Live) -> None:
    before = count(live.ledger, "events")
    form = b"form[id]=contact&fields[email][value]=a@example.com&fields[name][value]=Ada"
    kind = "Content-Type: application/x-www-form-urlencoded"
    with live.connect() as connection:
        connection.sendall(head(f"/webhooks/elementor/{TOKEN}", kind, f"Content-Length: {len(form) + 20}") + form)
        connection.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 400 " in connection.recv(65536)
    assert count(live.ledger, "events") == before
    whole = live.ask(head(f"/webhooks/elementor/{TOKEN}", kind, f"Content-Length: {len(form)}"), form)
    assert whole.startswith(b"HTTP/1.1 200 ")
    assert count(live.ledger, "events") == before + 1


def test_a_path_token_is_not_in_the_log_nor_on_the_disk(live: Live) -> None:
    form = f"form[id]=contact&fields[email][value]=b@example.com&referer=/webhooks/elementor/{TOKEN}".encode()
    kind, length = "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"
    assert b" 200 " in live.ask(head(f"/webhooks/elementor/{TOKEN}", kind, length), form)[:20]
    assert b" 401 " in live.ask(head(f"/webhooks/elementor/{TOKEN}x", kind, length), form)[:20]
    assert b" 413 " in live.ask(head(f"/webhooks/elementor/{TOKEN}", f"Content-Length: {2 * MIB}"))[:20]
    assert one(live.ledger, "SELECT COUNT(*) FROM events WHERE source = 'elementor'")[0] > 0
    for path in live.log.parent.iterdir():
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path.name
    assert b"event.refused" in live.log.read_bytes()


def test_no_redis_is_no_reason_to_refuse_an_event(live: Live) -> None:
    took = []
    for number in range(5):  # of which a busy machine may delay some, and Redis would delay each
        body = checkout(f"redisless{number}")
        signature = f"Stripe-Signature: {stripe_headers(body)['Stripe-Signature']}"
        began = time.monotonic()
        assert b" 200 " in live.ask(head("/webhooks/stripe", signature, f"Content-Length: {len(body)}"), body)[:20]
        took.append(time.monotonic() - began)
    assert min(took) < 1
