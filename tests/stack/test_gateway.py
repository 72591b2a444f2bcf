"""The front door as the network finds it: clients that are slow, cut off, or send what no library would."""

import csv
import io
import json
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from app.ledger import tables
from app.sources.stripe.source import SOURCE
from app.web.server.peers import MOST_SILENT
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.empty_ledgers import empty_file
from tests.support.makers import count
from tests.support.stack_parts import SECRET, Stack, purchase

pytestmark = pytest.mark.stack
TOKEN = "a-token-of-sixteen-characters"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One web on SQLite for all: what it does at the door is the same on every ledger."""
    home = tmp_path_factory.mktemp("gateway")
    url = empty_file(home / "ledger.db")
    stack = Stack(
        home,
        url,
        f"unix://{home}/none.sock",
        "http://127.0.0.1:9",
        ELEMENTOR_PATH_TOKEN=TOKEN,
        WEB_THREADS="4",
        DASHBOARD_VIEWER_PASSWORD="viewers may look",
    )
    stack.serve()
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


def test_clients_that_send_half_a_body_stop_nobody(web: Stack) -> None:
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


def test_a_body_that_is_cut_off_is_no_event(web: Stack) -> None:
    before = count(web.ledger, "events")
    form = b"fields[email][value]=ada@example.com&fields[email][type]=email&form[id]=f2"
    lines = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form) + 20}")
    ask(web, head(f"/webhooks/elementor/{TOKEN}", *lines) + form, close=True)
    time.sleep(0.3)
    assert count(web.ledger, "events") == before
    assert "Traceback" not in web.log_path.read_text()


def test_a_chunked_body_is_taken_whole(web: Stack) -> None:
    form = b"fields[email][value]=ada@example.com&fields[email][type]=email&form[id]=f3"
    lines = ("Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (form[:9], form[9:])) + b"0\r\n\r\n"
    answer = ask(web, head(f"/webhooks/elementor/{TOKEN}", *lines) + chunks)
    assert b" 200 " in answer[:20]
    assert b'"lead"' in answer


FORM = b"fields[email][value]=ada@example.com&fields[email][type]=email&form[id]=f4"
CHUNKED = ("Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("ending", ["half-closed", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        chunk(FORM[:20]),
        chunk(FORM),
        chunk(FORM)[:-12],
        chunk(FORM) + b"0\r\n",
        chunk(FORM[:20]) + b"zz\r\n",
        chunk(FORM[:20]) + b"5",
        b"",
    ],
)
def test_a_chunked_body_that_breaks_off_is_no_event(web: Stack, sent: bytes, ending: str) -> None:
    before = count(web.ledger, "events")
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall(head(f"/webhooks/elementor/{TOKEN}", *CHUNKED) + sent)
        if ending == "half-closed":
            wire.shutdown(socket.SHUT_WR)
            assert wire.recv(65536).startswith(b"HTTP/1.1 400 ")
        else:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert web.post(purchase()).status_code == 200, "taken after it"
    assert count(web.ledger, "events") == before + 1
    assert "Traceback" not in web.log_path.read_text()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_chunked_body_may_come_in_pieces_of_any_size(web: Stack, size: int) -> None:
    form = FORM.replace(b"f4", b"pieces-%d" % size)
    parts = [form[start : start + size] for start in range(0, len(form), size)]
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall(head(f"/webhooks/elementor/{TOKEN}", *CHUNKED))
        for part in parts:
            wire.sendall(chunk(part))
        wire.sendall(b"0\r\n\r\n")
        assert b'"lead"' in wire.recv(65536)


@pytest.mark.parametrize(
    ("path", "status"), [(f"/webhooks/elementor/{'x' * 29}", 401), ("/webhooks/elementor", 401), ("/webhooks/no", 404)]
)
def test_a_request_that_its_url_rules_out_is_refused_before_its_body(web: Stack, path: str, status: int) -> None:
    answer = ask(web, head(path, f"Content-Length: {MIB}"))
    assert int(answer.split(b" ")[1]) == status


def memory_of(stack: Stack) -> int:
    """Resident bytes of all processes of the stack."""
    groups = {process.pid for process in stack.processes}
    rows = subprocess.check_output(["ps", "-eo", "pgid,rss"], text=True).split("\n")[1:]
    return sum(int(rss) * 1024 for pgid, rss in (row.split() for row in rows if row) if int(pgid) in groups)


def test_the_bodies_of_strangers_take_no_more_than_a_bound(web: Stack) -> None:
    before = memory_of(web)
    most = head("/webhooks/stripe", f"Content-Length: {MIB}", "Stripe-Signature: t=1,v1=0") + b"x" * (MIB - 1)
    wires = []
    try:
        for _ in range(300):
            wires.append(socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS))
            with suppress(ConnectionError):  # the oldest ones are refused meanwhile
                wires[-1].sendall(most)
        assert memory_of(web) - before < 128 * MIB
        assert web.post(purchase()).status_code == 200
        assert b" 503 " in wires[0].recv(65536)[:20]
    finally:
        for wire in wires:
            wire.close()


def test_one_client_cannot_take_every_place_with_silent_connections(web: Stack) -> None:
    wires = [socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS) for _ in range(600)]
    try:
        wait_for(lambda: sum(is_open(wire) for wire in wires) <= MOST_SILENT + 1)
        assert sum(is_open(wire) for wire in wires[-50:]) == 50, "the oldest go first"
        assert web.post(purchase()).status_code == 200
    finally:
        for wire in wires:
            wire.close()


def is_open(wire: socket.socket) -> bool:
    """Whether the other end has not closed it. Nothing was sent that could be answered."""
    readable, _, _ = select.select([wire], [], [], 0) if wire.fileno() < 1024 else ([], [], [])
    return not readable


@pytest.fixture(scope="module")
def many_events(web: Stack) -> int:
    """More events than an answer of half a megabyte holds. Returns how many there are."""
    assert web.post(purchase()).status_code == 200
    columns = [column.name for column in tables.events.columns if column.name not in ("id", "event_key")]
    names = ", ".join(columns)
    with web.ledger.write() as tx:
        tx.run(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)"
            f" INSERT INTO events (id, event_key, {names})"
            f" SELECT 1000000 + n.i, 'stripe:copy_' || n.i, {names} FROM n, (SELECT * FROM events ORDER BY id LIMIT 1) e",
        )
    return count(web.ledger, "events")


def logged_in(web: Stack, password: str) -> requests.Session:
    session = requests.Session()
    answer = session.post(f"{web.url}/login", data={"password": password}, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200
    assert session.cookies
    return session


@pytest.mark.parametrize("password", ["password of the tests", "viewers may look"])
def test_a_download_of_any_length_is_whole(web: Stack, many_events: int, password: str) -> None:
    answer = logged_in(web, password).get(f"{web.url}/events.csv", timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"]) > 1024 * 1024
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == many_events
    assert len({row["id"] for row in rows}) == many_events


def test_head_of_a_download_and_of_a_page_answers_as_get_does(web: Stack, many_events: int) -> None:
    session = logged_in(web, "password of the tests")
    for path in ("/events.csv", "/sources", "/login", "/healthz", "/webhooks/stripe", "/nothing"):
        got = session.get(f"{web.url}{path}", timeout=PATIENCE_SECONDS, allow_redirects=False)
        headed = session.head(f"{web.url}{path}", timeout=PATIENCE_SECONDS)
        assert headed.status_code == got.status_code, path
        assert headed.headers["Content-Type"] == got.headers["Content-Type"], path
        assert headed.content == b"", path


def test_forty_downloads_that_nobody_reads_block_no_page(web: Stack, many_events: int) -> None:
    session = logged_in(web, "viewers may look")
    cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    request = head("/events.csv", f"Cookie: {cookie}", method="GET")
    before, wires = memory_of(web), []
    try:
        for _ in range(40):
            wires.append(socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS))
            wires[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wires[-1].sendall(request)
        assert session.get(f"{web.url}/", timeout=PATIENCE_SECONDS).status_code == 200
        assert web.post(purchase()).status_code == 200
        for wire in wires:  # all were begun, and none holds a thread
            assert wire.recv(12) == b"HTTP/1.1 200"
        assert session.get(f"{web.url}/events", timeout=PATIENCE_SECONDS).status_code == 200
        assert memory_of(web) - before < 120 * MIB  # unread, they would take more than 250
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 10**30])
def test_what_is_announced_too_large_is_refused_unread(web: Stack, size: int) -> None:
    answer = ask(web, head("/webhooks/stripe", f"Content-Length: {size}"))
    assert answer.split(b" ")[1] in (b"413", b"400")
    assert size > 10**20 or b" 413 " in answer


def test_chunks_without_end_are_refused_past_the_limit(web: Stack) -> None:
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
def test_everything_else_is_for_flask_to_answer(web: Stack, path: str, method: str, status: int) -> None:
    answer = ask(web, head(path, "Content-Length: 2", method=method) + b"{}")
    assert int(answer.split(b" ")[1]) == status, answer


def test_a_header_in_two_lines_is_one_and_one_with_an_underscore_is_none(web: Stack) -> None:
    body = purchase()
    signature = SOURCE.sign(body, SECRET, datetime.now(UTC))["Stripe-Signature"]
    stamp, digest = signature.split(",")
    lines = (f"Stripe-Signature: {stamp}", f"Stripe-Signature: {digest}", f"Content-Length: {len(body)}")
    assert b" 200 " in ask(web, head("/webhooks/stripe", *lines) + body)[:20]
    underscored = (f"Stripe_Signature: {signature}", f"Content-Length: {len(body)}")
    assert b" 401 " in ask(web, head("/webhooks/stripe", *underscored) + body)[:20]


def test_a_token_opens_its_source_without_a_thread_of_flask(web: Stack) -> None:
    form = {"fields[email][value]": "ada@example.com", "fields[email][type]": "email", "form[id]": "f1"}
    answer = requests.post(f"{web.url}/webhooks/elementor/{TOKEN}", data=form, timeout=PATIENCE_SECONDS)
    assert json.loads(answer.text)["outcome"] == "lead"
    assert TOKEN not in web.log_path.read_text()
