"""One connection of one sender, against real servers that behave as badly as real ones do."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from app.destination import (
    LONGEST_ANSWER,
    AnswerLost,
    Destination,
    Line,
    destinations_of,
    idempotency_key,
    is_private,
)
from app.dialects import dialect_of
from app.errors import ConfigurationError, TransientDeliveryError
from tests.conftest import wait_for

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """A listening socket; `serve(connection)` is run for each that is accepted."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self.requests = 0
        self.stopping = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        self.stopping.set()
        self._socket.close()


def read_request(connection: socket.socket) -> bytes:
    """One whole request; b"" where the connection was closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[Server]:
    server = Server(serve)
    try:
        yield server
    finally:
        server.close()


def line_to(url: str, timeout: float = 5, **options: Any) -> Line:
    options = {"allow_private": True, **options}
    return Line(Destination("main", url, "token", dialect_of("events"), timeout_seconds=timeout, **options))


@contextmanager
def watched(line: Line) -> Iterator[None]:
    """What a worker's turn does: cuts what is late, every few milliseconds."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            line.cut_if_late(time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_request_carries_token_key_and_the_payload_to_the_byte(destination):
    destination.answer = lambda _r: (201, {"X-Request-Id": "r1", "Set-Cookie": "secret=1"}, b'{"ok": true}')
    line = line_to(destination.url + "/base/")
    answer = line.send("sale", b'{"a":"\xc3\xa9"}', "sale:stripe:in_1")
    line.close()
    (request,) = destination.requests
    assert request["path"] == "/base/track/sale"
    assert request["body"] == b'{"a":"\xc3\xa9"}'
    assert request["headers"]["authorization"] == "Bearer token"
    assert request["headers"]["idempotency-key"] == "sale:stripe:in_1"
    assert request["headers"]["content-type"] == "application/json"
    assert (answer.status, answer.body) == (201, b'{"ok": true}')
    assert answer.headers["x-request-id"] == "r1"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("sale:stripe:in_1", "sale:stripe:in_1"),
        ("lead:my-form:A.b_c:9", "lead:my-form:A.b_c:9"),
        ("a b/c~d%e", "a%20b%2Fc%7Ed%25e"),
        ("é\r\nX: y", "%C3%A9%0D%0AX:%20y"),
        ("日", "%E6%97%A5"),
    ],
)
def test_a_key_is_percent_encoded_where_a_header_could_not_carry_it(key, sent):
    assert idempotency_key(key) == sent


def test_one_connection_serves_many_requests():
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            server.requests += 1
            connection.sendall(OK)

    with serving(serve) as server:
        line = line_to(server.url)
        assert [line.send("lead", b"{}", "k").status for _ in range(20)] == [200] * 20
        line.close()
        assert (server.connections, server.requests) == (1, 20)


def test_answers_without_a_body_or_with_chunks_keep_the_connection_too():
    answers = [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ]

    def serve(connection: socket.socket) -> None:
        for answer in answers:
            read_request(connection)
            connection.sendall(answer)
        read_request(connection)

    with serving(serve) as server:
        line = line_to(server.url)
        found = [line.send("lead", b"{}", "k") for _ in answers]
        line.close()
        assert [(a.status, a.body) for a in found] == [(204, b""), (200, b"abc"), (200, b""), (200, b"{}")]
        assert server.connections == 1


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_without_a_failure():
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        server.requests += 1

    with serving(serve) as server:
        line = line_to(server.url)
        for number in range(1, 4):
            assert line.send("lead", b"{}", "k").status == 200
            wait_for(lambda number=number: server.requests == number, 5)
            time.sleep(0.02)
        line.close()
        assert server.connections == 3


def test_an_answer_that_says_close_and_one_without_length_end_their_connection():
    answers = iter(
        [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
            OK,
        ]
    )

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(next(answers))

    with serving(serve) as server:
        line = line_to(server.url)
        assert [line.send("lead", b"{}", "k").body for _ in range(3)] == [b"{}", b"until the end", b"{}"]
        line.close()


def test_a_server_that_never_answers_costs_no_more_than_the_deadline():
    with serving(lambda connection: server.stopping.wait(10) and None) as server:
        line = line_to(server.url, timeout=0.3)
        began = time.monotonic()
        with watched(line), pytest.raises(AnswerLost, match=r"no whole answer within 0\.3 s"):
            line.send("sale", b"{}", "k")
        assert 0.25 < time.monotonic() - began < 1


DRIPS = {
    "the status": b"HTTP/1.1 200 OK\r\n" * 100,
    "a header": b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000,
    "the body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
    "a body before it closes": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
    "a body that ends by closing": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000,
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000,
}


@pytest.mark.parametrize("text", DRIPS.values(), ids=DRIPS.keys())
def test_an_answer_that_drips_is_cut_at_the_deadline(text):
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        start = text.find(b"x") if b"x" in text else 12
        connection.sendall(text[:start])
        for n in range(start, len(text)):
            if server.stopping.wait(0.02):
                return
            connection.sendall(text[n : n + 1])

    with serving(serve) as server:
        line = line_to(server.url, timeout=0.4)
        began = time.monotonic()
        with watched(line), pytest.raises(AnswerLost, match="no whole answer within"):
            line.send("sale", b"{}", "k")
        assert time.monotonic() - began < 1.2


def test_after_a_cut_the_next_request_is_whole():
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        server.requests += 1
        if server.requests > 1:
            connection.sendall(OK)
        server.stopping.wait(5)

    with serving(serve) as server:
        line = line_to(server.url, timeout=0.2)
        with watched(line):
            with pytest.raises(AnswerLost):
                line.send("sale", b"{}", "k")
            assert line.send("sale", b"{}", "k").status == 200
        line.close()


def test_an_idle_line_is_never_cut(destination):
    line = line_to(destination.url, timeout=0.05)
    with watched(line):
        for _ in range(5):
            assert line.send("sale", b"{}", "k").status == 200
            time.sleep(0.06)
    line.close()


BROKEN = {
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "no body at all": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc",
    "chunks without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "half the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no end of the headers": b"HTTP/1.1 200 OK\r\nServer: x\r\n",
    "half the status": b"HTTP/1.1 2",
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "a header of 100 kB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_is_broken_is_lost_and_no_success(answer):
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    with serving(serve) as server:
        line = line_to(server.url)
        with pytest.raises(AnswerLost):
            line.send("sale", b"{}", "k")
        with pytest.raises(AnswerLost):
            line.send("sale", b"{}", "k")
        assert server.connections == 2


def test_a_reset_after_the_request_is_lost():
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(serve) as server:
        with pytest.raises(AnswerLost) as caught:
            line_to(server.url).send("sale", b"{}", "k")
        assert "token" not in str(caught.value)


def test_no_connection_is_transient_and_certainly_not_taken():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://name.invalid"):
        with pytest.raises(TransientDeliveryError, match="cannot connect") as caught:
            line_to(url).send("sale", b"{}", "k")
        assert not isinstance(caught.value, AnswerLost)


def test_tls_to_a_server_that_has_none_is_transient(destination):
    with pytest.raises(TransientDeliveryError, match="cannot connect") as caught:
        line_to(destination.url.replace("http://", "https://")).send("sale", b"{}", "k")
    assert not isinstance(caught.value, AnswerLost)
    assert destination.requests == []


def test_redirects_are_not_followed(destination):
    destination.answer = lambda _r: (307, {"Location": f"{destination.url}/elsewhere"}, b"")
    line = line_to(destination.url)
    assert line.send("sale", b"{}", "k").status == 307
    line.close()
    assert [r["path"] for r in destination.requests] == ["/track/sale"]


def test_of_an_endless_answer_only_the_beginning_is_read():
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not server.stopping.is_set():
            connection.sendall(b"x" * 65536)

    with serving(serve) as server:
        line = line_to(server.url)
        for _ in range(2):
            answer = line.send("sale", b"{}", "k")
            assert (answer.status, len(answer.body)) == (200, LONGEST_ANSWER)
        line.close()
        assert server.connections == 2


def test_a_private_address_is_refused_unless_allowed(destination):
    for url in (destination.url, destination.url.replace("127.0.0.1", "localhost")):
        line = line_to(url, allow_private=False)
        with pytest.raises(TransientDeliveryError, match="DESTINATION_ALLOW_PRIVATE"):
            line.send("sale", b"{}", "k")
    assert destination.requests == []


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("192.168.1.1", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("0.0.0.0", True),
        ("::1", True),
        ("::", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("8.8.8.8", False),
        ("2606:4700:4700::1111", False),
        ("destination.example", False),
    ],
)
def test_private_addresses_are_known(address, private):
    assert is_private(address) is private


def test_without_a_destination_it_is_the_sandbox_of_this_machine(make_settings):
    (found,) = destinations_of(make_settings(PORT="8123", HOST="0.0.0.0"))
    assert (found.name, found.url, found.allow_private) == ("sandbox", "http://127.0.0.1:8123/sandbox", True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.168.0.9", "169.254.169.254", "[::1]", "[fd00::1]"])
def test_a_private_destination_is_refused_at_the_start_unless_allowed(make_settings, host):
    variables = {"DESTINATION_URL": f"http://{host}:9000", "DESTINATION_TOKEN": "token"}
    with pytest.raises(ConfigurationError, match="DESTINATION_ALLOW_PRIVATE"):
        destinations_of(make_settings(**variables))
    (found,) = destinations_of(make_settings(**variables, DESTINATION_ALLOW_PRIVATE="1"))
    assert (found.name, found.token) == ("main", "token")


def test_the_print_of_a_token_changes_with_it_and_tells_nothing_of_it():
    prints = {line_to("http://x.example")._destination.token_print for _ in range(2)}
    assert len(prints) == 1
    assert "token" not in prints.pop()
