"""HTTP/1.1 requests on kept-alive connections of an event loop, bounded in time and size.

httptools (Node's llhttp) parses the answers; the rest is here because general clients do not promise what a delivery needs: to
know whether a request left at all, and never to take a late answer of one request for the answer of the next. (aiohttp 3.14
does that, since its pool does not look at what a waiting connection received; it also takes five times the processor time.)
"""

import asyncio
import select
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import httptools

from app.destinations.connect import (
    Endpoint,
    PrivateAddress,
    Resolver,
    bracketed,
    open_connection,
    proxy_authorization,
)
from app.errors import TransientDeliveryError

LONGEST_ANSWER = 64 * 1024
LONGEST_HEAD = 64 * 1024
MOST_RECEIVED = 1024 * 1024
"""Bytes that are read of an answer in all, with the framing of its chunks and its trailers."""
MOST_HEADERS = 100
MOST_INTERIM_ANSWERS = 20
IDLE_SECONDS = 4.0
"""Longer than that no connection is kept without a request: most servers close theirs after 5 s or more, and a request that
crosses that on its way is lost without anybody knowing whether it was taken."""
HIDDEN_HEADERS = frozenset({"set-cookie", "authorization", "www-authenticate", "proxy-authenticate"})
SWITCHING_PROTOCOLS = 101


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `body` is at most 64 KiB of it."""

    status: int
    headers: dict[str, str]
    body: bytes


class AnswerLost(TransientDeliveryError):
    """The request may have been taken: it was sent, and no whole answer came."""


class _Late(AnswerLost):
    """The deadline passed."""

    def __init__(self) -> None:
        super().__init__("no whole answer in time")


class _Refused(Exception):
    """An answer that is not read any further; the text says why."""


class Connection(asyncio.Protocol):
    """One connection that carries one request at a time. What comes while none waits for it closes the connection."""

    def __init__(self, longest_answer: int = LONGEST_ANSWER) -> None:
        self._longest_answer = longest_answer
        self.idle_since = 0.0
        self.is_over = False
        """Nothing more may be sent over it."""
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._parser = httptools.HttpResponseParser(self)
        # What older servers send and every client takes; there is nobody behind us who could read it in another way.
        self._parser.set_dangerous_leniencies(lenient_headers=True, lenient_optional_cr_before_lf=True)
        self._waiting: asyncio.Future[Answer] | None = None
        self._expects_body = True
        self._received = self._interim = 0
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of another class
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent: the other side did not close it, nor send what nobody asked for."""
        return not (self.is_over or self._poll.poll(0))

    async def ask(self, request: bytes, deadline: float, *, expects_body: bool = True) -> Answer:
        """Sends `request` and reads the answer, with any status; interim answers (1xx) are skipped.

        Raises AnswerLost if no whole answer came by `deadline` (monotonic), and TimeoutError where it had passed before
        anything was sent.
        """
        assert self._transport is not None
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline is over")
        loop = asyncio.get_running_loop()
        self._begin()
        self._expects_body = expects_body
        self._received = self._interim = 0
        waiting: asyncio.Future[Answer] = loop.create_future()
        self._waiting = waiting
        timer = loop.call_later(seconds, self._lose, _Late())
        self._transport.write(request)
        try:
            return await waiting
        finally:
            timer.cancel()
            self._waiting = None
            if not waiting.done() or waiting.cancelled():
                self.close()

    def close(self) -> None:
        """At once. Idempotent."""
        self.is_over = True
        if self._transport is not None:
            self._transport.abort()

    # -- what the event loop calls

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(closes=True)
        except httptools.HttpParserCallbackError as error:
            self._lose(AnswerLost(str(error.__context__ or error)))
        except httptools.HttpParserError as error:
            self._lose(AnswerLost(f"the answer is not HTTP ({error})"))
        else:
            self._received += len(data)
            if self._received > (MOST_RECEIVED if self._is_in_body else LONGEST_HEAD):
                self._lose(AnswerLost("the answer is too long"))

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        if error is None:
            self._end()
        else:
            self._lose(AnswerLost(plain(error)))
        self.is_over = True

    # -- what the parser calls

    def on_message_begin(self) -> None:
        if self._waiting is None or self._waiting.done():
            self.is_over = True  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._head_bytes += len(name) + len(value)
        if self._count > MOST_HEADERS or self._head_bytes > LONGEST_HEAD:
            raise _Refused("the headers of the answer are too long")
        if not self._is_in_body:  # else it is a trailer
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        self._status = self._parser.get_status_code()
        if not self._expects_body and not self._is_interim:
            self._finish(closes=True)

    def on_body(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            return
        self._body.append(data)
        self._length += len(data)
        if self._length >= self._longest_answer:
            self._finish(closes=True)

    def on_message_complete(self) -> None:
        if self._waiting is None or self._waiting.done():
            return
        if self._is_interim:
            self._interim += 1
            if self._interim > MOST_INTERIM_ANSWERS:
                raise _Refused("too many interim answers")
            self._begin()
        else:
            self._finish(closes=not self._parser.should_keep_alive())

    # --

    def _begin(self) -> None:
        """Nothing of an answer was read yet."""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._count = self._head_bytes = self._length = 0
        self._is_in_body = False

    @property
    def _is_interim(self) -> bool:
        return 100 <= self._status <= 199 and self._status != SWITCHING_PROTOCOLS

    def _finish(self, *, closes: bool) -> None:
        """The answer is whole, or as much of it as is read."""
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            headers = {name: value for name, value in self._headers.items() if name not in HIDDEN_HEADERS}
            waiting.set_result(Answer(self._status, headers, b"".join(self._body)[: self._longest_answer]))
        if closes:
            self.close()

    def _end(self) -> None:
        """The other side sends nothing more, which is how an answer without a length ends."""
        ends_so = "content-length" not in self._headers and not self._headers.get(
            "transfer-encoding", ""
        ).lower().endswith("chunked")
        if self._is_in_body and ends_so and not self._is_interim:
            self._finish(closes=True)
        else:
            self._lose(AnswerLost("the connection was closed before the whole answer came"))

    def _lose(self, error: AnswerLost) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        self.close()


class Client:
    """Requests to one endpoint, each within `timeout_seconds` in all. As many connections as there are requests at once.

    For one event loop; `resolver` may be shared.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout_seconds: float,
        resolver: Resolver | None = None,
        *,
        longest_answer: int = LONGEST_ANSWER,
    ) -> None:
        """longest_answer: how many bytes of one are kept, MOST_RECEIVED at most."""
        self._make = partial(Connection, longest_answer)
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._resolver = resolver or Resolver()
        host, port = bracketed(endpoint.host), endpoint.port
        host = host if port == (443 if endpoint.tls else 80) else f"{host}:{port}"
        self._headers = {"Host": host}
        self._prefix = ""
        if endpoint.proxy is not None and endpoint.tls is None:
            self._prefix = f"http://{host}"
            if authorization := proxy_authorization(endpoint.proxy):
                self._headers["Proxy-Authorization"] = authorization
        self._idle: deque[Connection] = deque()
        """By how long they have been idle, the longest first."""
        self._sweep: asyncio.TimerHandle | None = None

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, expects_body: bool = True
    ) -> Answer:
        """Any status is an Answer; redirects are not followed. Raises AnswerLost if the request may have been taken,
        TransientDeliveryError where it certainly was not."""
        deadline = time.monotonic() + self._timeout_seconds
        connection: Connection | None = None
        try:
            content = _head(method, self._prefix + target, {**self._headers, **headers}, len(body)) + body
            connection = self._take() or await open_connection(self._endpoint, self._make, self._resolver, deadline)
            answer = await connection.ask(content, deadline, expects_body=expects_body)
        except _Late:
            raise AnswerLost(f"no whole answer within {self._timeout_seconds:g} s") from None
        except PrivateAddress as error:
            raise TransientDeliveryError(f"cannot connect: {error}: {self._endpoint.hint}") from error
        except (OSError, ValueError) as error:
            if connection is not None:
                connection.close()
            raise TransientDeliveryError(f"cannot connect: {plain(error)}") from error
        self._keep(connection)
        return answer

    def close(self) -> None:
        """Closes what waits for a request; the next one opens another. Idempotent."""
        while self._idle:
            self._idle.pop().close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        if connection.is_over:
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        self._sweep = None
        if self._idle:
            wait = self._idle[0].idle_since - oldest
            self._sweep = asyncio.get_running_loop().call_later(wait, self._close_idle)


def _head(method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
    """Raises ValueError if a part of it cannot stand in a header."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    text = f"{method} {target} HTTP/1.1\r\n{lines}Content-Length: {length}\r\n\r\n"
    if text.count("\r") != len(headers) + 3 or text.count("\n") != len(headers) + 3 or " " in target:
        raise ValueError("a header holds a line break")
    return text.encode("latin-1")


def plain(error: BaseException) -> str:
    """What went wrong, with the kind of error."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
