"""Requests of one sender, against real servers that behave as badly as real ones do."""

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from app.config.settings import Settings
from app.destinations.connect import Endpoint, PrivateAddress, Resolver, connect, is_private, open_connection, public
from app.destinations.formats.base import header_text
from app.destinations.formats.registry import format_of
from app.destinations.http import LONGEST_ANSWER, Answer, AnswerLost, Client, Connection
from app.destinations.target import Destination, DestinationClient, destinations_of
from app.errors import ConfigurationError, TransientDeliveryError
from tests.conftest import FakeDestination, wait_for
from tests.support.ports import Port
from tests.support.raw_server import OK, Server, read_request, serving

Result = TypeVar("Result")
LONG_SECONDS = 40
"""For how long a server hangs or drips: who waits for it, and not for a deadline, is found out on a slow machine too."""


def hang(server: Server) -> None:
    """Answers nothing until the test is over."""
    server.stopping.wait(LONG_SECONDS)


def had(server: Server, requests: int) -> bool:
    return server.requests == requests


def run_on_uvloop(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class Line:
    """A client of a destination on an event loop that runs in a thread, as a worker has it; each send waits for its answer."""

    def __init__(
        self, destination: Destination, resolver: Resolver | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.client = DestinationClient(destination, resolver)
        if tls is not None:
            self.client._client._endpoint = replace(self.client._client._endpoint, tls=tls)

    def send(self, kind: str, payload: bytes, key: str) -> Answer:
        asked = self.client.send("lead" if kind == "lead" else "sale", payload.decode(), key, datetime.now(UTC))
        return asyncio.run_coroutine_threadsafe(asked, self.loop).result(100)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.client.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def line_to() -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(
        url: str,
        timeout: float = 30,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Line:
        options = {"allow_private": True, **options}
        destination = Destination("main", url, "token", format_of("events"), timeout_seconds=timeout, **options)
        made.append(Line(destination, resolver, tls))
        return made[-1]

    yield make
    for line in made:
        line.close()


def test_a_request_carries_token_key_and_the_payload_to_the_byte(
    line_to: Callable[..., Line], destination: FakeDestination
) -> None:
    destination.answer = lambda _r: (201, {"X-Request-Id": "r1", "Set-Cookie": "secret=1"}, b'{"ok": true}')
    line = line_to(destination.url + "/base/")
    answer = line.send("sale", b'{"a":"\xc3\xa9"}', "sale:stripe:in_1")
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
def test_a_key_is_percent_encoded_where_a_header_could_not_carry_it(key: str, sent: str) -> None:
    assert header_text(key) == sent


def test_one_connection_serves_many_requests(line_to: Callable[..., Line]) -> None:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            server.requests += 1
            connection.sendall(OK)

    with serving(serve) as server:
        line = line_to(server.url)
        assert [line.send("lead", b"{}", "k").status for _ in range(20)] == [200] * 20
        assert (server.connections, server.requests) == (1, 20)


def test_answers_without_a_body_or_with_chunks_keep_the_connection_too(line_to: Callable[..., Line]) -> None:
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
        assert [(a.status, a.body) for a in found] == [(204, b""), (200, b"abc"), (200, b""), (200, b"{}")]
        assert server.connections == 1


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"]
)
@pytest.mark.parametrize("count", [1, 3])
def test_an_interim_answer_is_skipped_and_the_one_behind_it_is_that_of_its_own_request(
    line_to: Callable[..., Line], interim: bytes, count: int
) -> None:
    """The delivery was retried though it had been taken, and the next one read its late answer: a refusal counted as taken."""
    answers = [OK, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad", OK]

    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            for _ in range(count):
                connection.sendall(interim)
                time.sleep(0.1)
            server.requests += 1
            connection.sendall(answers[server.requests - 1])

    with serving(serve) as server:
        line = line_to(server.url)
        assert [line.send("lead", b"{}", f"k{n}").status for n in range(3)] == [200, 400, 200]
        assert server.connections == 1


def test_interim_answers_without_end_are_no_answer(line_to: Callable[..., Line]) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        while not server.stopping.is_set():
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    with serving(serve) as server, pytest.raises(AnswerLost, match="too many interim answers"):
        line_to(server.url).send("lead", b"{}", "k")


SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"


@pytest.mark.parametrize("pause", [0, 0.05, 0.2])
def test_a_second_answer_to_one_request_is_never_taken_for_that_of_the_next(
    line_to: Callable[..., Line], pause: float
) -> None:
    refused = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"

    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            if pause:
                connection.sendall(refused)
                time.sleep(pause)
                connection.sendall(SECOND)
            else:
                connection.sendall(refused + SECOND)
            server.requests += 1

    with serving(serve) as server:
        line = line_to(server.url)
        for number in range(1, 4):
            assert line.send("lead", b"{}", "k").body == b"bad"
            wait_for(partial(had, server, number))
            time.sleep(0.02)
        assert server.connections == 3


def test_what_came_while_the_loop_was_busy_is_seen_before_the_next_request_is_sent() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        number = server.connections
        if number == 1:
            connection.sendall(SECOND)
        elif number == 2:
            connection.shutdown(socket.SHUT_RDWR)
        server.requests += 1
        if number == 1:
            server.stopping.wait(LONG_SECONDS)

    async def send() -> list[bytes]:
        client = Client(Endpoint("127.0.0.1", server.port, allow_private=True), LONG_SECONDS)
        bodies = []
        for number in range(1, 4):
            bodies.append((await client.request("POST", "/", {}, b"{}")).body)
            wait_for(partial(had, server, number))  # the event loop does not run meanwhile
            time.sleep(0.05)
        client.close()
        return bodies

    with serving(serve) as server:
        assert run_on_uvloop(send()) == [b"{}"] * 3
        assert server.connections == 3


def test_nothing_is_sent_when_the_deadline_passed_while_connecting() -> None:
    """A machine that slept, or a loop that was held up: the claim may be somebody else's by now."""

    def serve(connection: socket.socket) -> None:
        if read_request(connection):
            server.requests += 1

    async def send() -> None:
        endpoint, deadline = Endpoint("127.0.0.1", server.port, allow_private=True), time.monotonic() + 1
        connection = await open_connection(endpoint, Connection, Resolver(), deadline)
        time.sleep(1.1)
        with pytest.raises(TimeoutError):
            await connection.ask(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", deadline)
        connection.close()

    with serving(serve) as server:
        run_on_uvloop(send())
        wait_for(lambda: server.connections == 1)
        time.sleep(0.1)
        assert server.requests == 0


def test_headers_end_with_line_feeds_alone_at_some_servers(line_to: Callable[..., Line]) -> None:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\nContent-Length: 2\nX-Name: Zo\xeb\n\n{}")

    with serving(serve) as server:
        line = line_to(server.url)
        assert [line.send("lead", b"{}", "k").headers["x-name"] for _ in range(2)] == ["Zo\xeb"] * 2
        assert server.connections == 1


def test_a_connection_that_waited_for_long_is_closed_and_not_used_again(
    line_to: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.destinations.http.IDLE_SECONDS", 0.3)

    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(OK)
        server.requests += 1

    with serving(serve) as server:
        line = line_to(server.url)
        assert line.send("lead", b"{}", "k").status == 200
        wait_for(lambda: server.requests == 1)
        assert line.send("lead", b"{}", "k").status == 200
        assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_without_a_failure(
    line_to: Callable[..., Line],
) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        server.requests += 1

    with serving(serve) as server:
        line = line_to(server.url)
        for number in range(1, 4):
            assert line.send("lead", b"{}", "k").status == 200
            wait_for(partial(had, server, number))
            time.sleep(0.02)
        assert server.connections == 3


def test_an_answer_that_says_close_and_one_without_length_end_their_connection(line_to: Callable[..., Line]) -> None:
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


def test_a_server_that_never_answers_costs_no_more_than_the_deadline(line_to: Callable[..., Line]) -> None:
    with serving(lambda _connection: hang(server)) as server:
        line = line_to(server.url, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(AnswerLost, match=r"no whole answer within 0\.3 s"):
            line.send("sale", b"{}", "k")
        assert 0.25 < time.monotonic() - began < LONG_SECONDS / 4


DRIPS = {
    "the status": b"HTTP/1.1 200 OK\r\n" * 100,
    "a header": b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000,
    "the body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
    "a body before it closes": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
    "a body that ends by closing": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000,
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000,
}


@pytest.mark.parametrize("text", DRIPS.values(), ids=DRIPS.keys())
def test_an_answer_that_drips_is_cut_at_the_deadline(line_to: Callable[..., Line], text: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        start = text.find(b"x") if b"x" in text else 12
        connection.sendall(text[:start])
        for n in range(start, len(text)):
            if server.stopping.wait(LONG_SECONDS / 1000):
                return
            connection.sendall(text[n : n + 1])

    with serving(serve) as server:
        line = line_to(server.url, timeout=0.4)
        began = time.monotonic()
        with pytest.raises(AnswerLost, match="no whole answer within"):
            line.send("sale", b"{}", "k")
        assert time.monotonic() - began < LONG_SECONDS / 4


def test_after_a_cut_the_next_request_is_whole(line_to: Callable[..., Line]) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        server.requests += 1
        if server.requests > 1:
            connection.sendall(OK)
        server.stopping.wait(LONG_SECONDS)

    with serving(serve) as server:
        line = line_to(server.url, timeout=0.2)
        with pytest.raises(AnswerLost):
            line.send("sale", b"{}", "k")
        line.client._client._timeout_seconds = LONG_SECONDS
        assert line.send("sale", b"{}", "k").status == 200


def test_a_line_may_be_idle_for_longer_than_a_request_may_take(
    line_to: Callable[..., Line], destination: FakeDestination
) -> None:
    line = line_to(destination.url, timeout=2)
    assert line.send("sale", b"{}", "k").status == 200
    time.sleep(2.2)
    assert line.send("sale", b"{}", "k").status == 200
    assert len(destination.requests) == 2


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
    "a status that is not a number": b"HTTP/1.1 abc OK\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "a header of 100 kB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "a trailer without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 2_000_000,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a switch to another protocol that breaks off": b"HTTP/1.1 101 Switch",
    "interim answers alone": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3,
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_is_broken_is_lost_and_no_success(line_to: Callable[..., Line], answer: bytes) -> None:
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


def test_a_reset_after_the_request_is_lost(line_to: Callable[..., Line]) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(serve) as server:
        with pytest.raises(AnswerLost) as caught:
            line_to(server.url).send("sale", b"{}", "k")
        assert "token" not in str(caught.value)


def test_no_connection_is_transient_and_certainly_not_taken(line_to: Callable[..., Line]) -> None:
    with Port() as port:
        for url in (port.url, "http://name.invalid"):
            with pytest.raises(TransientDeliveryError, match="cannot connect") as caught:
                line_to(url).send("sale", b"{}", "k")
            assert not isinstance(caught.value, AnswerLost)


def test_tls_to_a_server_that_has_none_is_transient(line_to: Callable[..., Line], destination: FakeDestination) -> None:
    with pytest.raises(TransientDeliveryError, match="cannot connect") as caught:
        line_to(destination.url.replace("http://", "https://")).send("sale", b"{}", "k")
    assert not isinstance(caught.value, AnswerLost)
    assert destination.requests == []


def test_redirects_are_not_followed(line_to: Callable[..., Line], destination: FakeDestination) -> None:
    destination.answer = lambda _r: (307, {"Location": f"{destination.url}/elsewhere"}, b"")
    line = line_to(destination.url)
    assert line.send("sale", b"{}", "k").status == 307
    assert [r["path"] for r in destination.requests] == ["/track/sale"]


def test_of_an_endless_answer_only_the_beginning_is_read(line_to: Callable[..., Line]) -> None:
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
        assert server.connections == 2


def test_a_private_address_is_refused_before_a_connection_is_made(line_to: Callable[..., Line]) -> None:
    with serving(lambda _connection: None) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            line = line_to(url, allow_private=False)
            with pytest.raises(
                TransientDeliveryError, match=r"(127\.0\.0\.1|::1), a private .* DESTINATION_ALLOW_PRIVATE"
            ):
                line.send("sale", b"{}", "k")
        assert server.connections == 0


class Names(Resolver):
    """Names as a test has them."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        super().__init__()
        self.addresses = addresses

    async def look_up(self, host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
        return [(socket.AF_INET, address) for address in self.addresses]


def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    with serving(lambda _connection: None) as server:
        names = Names(("127.0.0.1", server.port), ("10.0.0.1", 443))
        with pytest.raises(PrivateAddress, match=r"rebound\.example is at 127\.0\.0\.1, a private address"):
            asyncio.run(connect("rebound.example", 443, names, time.monotonic() + 1, allow_private=False))
        assert server.connections == 0


def test_of_a_name_with_private_and_public_addresses_only_the_public_ones_are_used() -> None:
    found = [(socket.AF_INET, (address, 443)) for address in ("10.0.0.1", "8.8.8.8", "127.0.0.1", "9.9.9.9")]
    assert [address[0] for _, address in public("two.example", found)] == ["8.8.8.8", "9.9.9.9"]


def test_where_the_first_address_of_a_name_does_not_answer_the_next_is_tried_in_time() -> None:
    with serving(lambda _connection: None) as server:
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        names = Names(full.getsockname(), ("127.0.0.1", server.port))
        sock = run_on_uvloop(connect("two.example", 80, names, time.monotonic() + 3, allow_private=True))
        assert sock.getpeername()[1] == server.port
        for each in (sock, full, *crowd):
            each.close()


class SlowResolver(Resolver):
    """The system's look-up hangs until it is reported."""

    def __init__(self) -> None:
        super().__init__()
        self.proceed = threading.Event()
        self.asked = 0

    def _ask(self, host: str, port: int, flags: int = 0) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
        self.asked += 1
        self.proceed.wait(LONG_SECONDS)
        return super()._ask(host, port, flags)


def test_a_look_up_that_hangs_costs_no_more_than_the_deadline_and_one_thread(
    line_to: Callable[..., Line], destination: FakeDestination
) -> None:
    resolver = SlowResolver()
    url = destination.url.replace("127.0.0.1", "localhost")
    line = line_to(url, timeout=0.3, resolver=resolver)
    began = time.monotonic()
    running = [
        asyncio.run_coroutine_threadsafe(line.client.send("sale", "{}", "k", datetime.now(UTC)), line.loop)
        for _ in range(5)
    ]
    failures = [repr(future.exception(100)) for future in running]
    assert time.monotonic() - began < LONG_SECONDS / 4
    text = "cannot connect: TimeoutError: the name localhost was not resolved in time"
    assert failures == [repr(TransientDeliveryError(text))] * 5
    assert resolver.asked == 1
    resolver.proceed.set()
    wait_for(lambda: not resolver._running)
    line.client._client._timeout_seconds = LONG_SECONDS
    assert line.send("sale", b"{}", "k").status == 200


CERTIFICATE = Path(__file__).parents[1] / "certificate"


def tls_server(serve: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """`serve` over TLS, with a certificate for localhost that no authority vouches for."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE / "localhost.pem", CERTIFICATE / "localhost.key")

    def serve_wrapped(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True) as wrapped:
            serve(wrapped)

    return serve_wrapped


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_trusted_taken(
    line_to: Callable[..., Line],
) -> None:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            server.requests += 1
            connection.sendall(OK)

    trusted = ssl.create_default_context(cafile=str(CERTIFICATE / "localhost.pem"))
    with serving(tls_server(serve)) as server:
        line = line_to(f"https://localhost:{server.port}")
        with pytest.raises(TransientDeliveryError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            line.send("sale", b"{}", "k")
        assert not isinstance(caught.value, AnswerLost)
        assert server.requests == 0
        line = line_to(f"https://localhost:{server.port}", tls=trusted)
        assert [line.send("sale", b"{}", "k").status for _ in range(5)] == [200] * 5
        assert server.connections == 2, "one was refused, one served five requests"
        with pytest.raises(TransientDeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
            line_to(f"https://127.0.0.1:{server.port}", tls=trusted).send("sale", b"{}", "k")


def test_tls_that_hangs_costs_no_more_than_the_deadline(line_to: Callable[..., Line]) -> None:
    with serving(lambda _connection: hang(server)) as server:
        began = time.monotonic()
        with pytest.raises(TransientDeliveryError, match="cannot connect"):
            line_to(f"https://localhost:{server.port}", timeout=0.3).send("sale", b"{}", "k")
        assert time.monotonic() - began < LONG_SECONDS / 4


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
        ("64:ff9b::a00:1", True),
        ("2002:7f00:1::1", True),
        ("224.0.0.1", True),
        ("ff02::1", True),
        ("8.8.8.8", False),
        ("2606:4700:4700::1111", False),
        ("destination.example", False),
    ],
)
def test_private_addresses_are_known(address: str, private: bool) -> None:
    assert is_private(address) is private


def test_without_a_destination_it_is_the_sandbox_of_this_machine(make_settings: Callable[..., Settings]) -> None:
    (found,) = destinations_of(make_settings(PORT="8123", HOST="0.0.0.0"))
    assert (found.name, found.url, found.allow_private) == ("sandbox", "http://127.0.0.1:8123/sandbox", True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.168.0.9", "169.254.169.254", "[::1]", "[fd00::1]"])
def test_a_private_destination_is_refused_at_the_start_unless_allowed(
    make_settings: Callable[..., Settings], host: str
) -> None:
    variables = {"DESTINATION_URL": f"http://{host}:9000", "DESTINATION_TOKEN": "token"}
    with pytest.raises(ConfigurationError, match="DESTINATION_ALLOW_PRIVATE"):
        destinations_of(make_settings(**variables))
    (found,) = destinations_of(make_settings(**variables, DESTINATION_ALLOW_PRIVATE="1"))
    assert (found.name, found.token) == ("main", "token")


def test_the_print_of_a_token_changes_with_it_and_tells_nothing_of_it() -> None:
    prints = {Destination("main", "http://x.example", "token", format_of("events")).token_print for _ in range(2)}
    assert len(prints) == 1
    assert "token" not in prints.pop()
