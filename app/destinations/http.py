"""Sending one payload to a destination over HTTP: a kept-alive connection per sender, a deadline for the whole request.

http.client is used directly: each sender has one connection of its own, so no pool is shared, and every wait, from the look-up
of the name to the last byte of an answer that drips, is bounded by what is left of the deadline. (Measured: three times the rate
of requests, half as much again as urllib3.)
"""

import functools
import hashlib
import http.client
import io
import select
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import certifi
import requests

from app.config.destinations import MAIN, SANDBOX
from app.config.settings import Settings
from app.destinations.connect import Deadline, PrivateAddress, Resolver, connect, is_private
from app.destinations.formats.base import Dialect
from app.destinations.formats.registry import dialect_of
from app.errors import ConfigurationError, TransientDeliveryError

LONGEST_ANSWER = 64 * 1024
USER_AGENT = "conversion-bridge/0.1"
LEAVE = "set DESTINATION_ALLOW_PRIVATE=1 if that is meant"
HIDDEN_HEADERS = frozenset({"set-cookie", "authorization", "www-authenticate", "proxy-authenticate"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the destination said. `body` is at most 64 KiB of it."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Destination:
    """Who we send to. `url` is the base to which /track/<kind> is appended; timeout_seconds bounds a whole request."""

    name: str
    url: str
    token: str
    dialect: Dialect
    timeout_seconds: float = 10
    concurrency: int = 32
    rate: float | None = None
    allow_private: bool = False
    leave: str = LEAVE
    """What to set where a private address is meant."""

    @property
    def token_print(self) -> str:
        """A fingerprint of URL and token: says whether either changed, and nothing else."""
        return hashlib.sha256(f"{self.url}\n{self.token}".encode()).hexdigest()[:16]


class AnswerLost(TransientDeliveryError):
    """The request may have been taken: it was sent, and no whole answer came."""


class _Timely(io.RawIOBase):
    """What comes over a socket, each wait bounded by the deadline of the whole request."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Lines of an answer; one that the end of the connection cut off is an error, and not the end of the headers."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if line[-1:] != b"\n" and len(line) != size:
            raise ConnectionResetError("the answer ended early")
        return line


class _Response(http.client.HTTPResponse):
    """http.client's own takes an answer that breaks off within its headers for one with fewer headers, and thus for a success,
    and waits anew for each byte."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = _Lines(_Timely(self.fp.detach(), sock, deadline))


class Line:
    """One connection of one sender to a destination. Not thread-safe; `resolver` may be shared."""

    def __init__(self, destination: Destination, resolver: Resolver | None = None) -> None:
        parts = urlsplit(destination.url)
        assert parts.hostname is not None
        self._destination = destination
        self._resolver = resolver or Resolver()
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = parts.path.rstrip("/")
        self._tls = _tls_context() if parts.scheme == "https" else None
        self._headers = {
            "Authorization": f"Bearer {destination.token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
        }
        self._connection: http.client.HTTPConnection | None = None

    def send(self, kind: str, payload: bytes, key: str) -> Answer:
        """Posts `payload` to /track/<kind>. Any status is an Answer.

        Raises AnswerLost where the destination may have taken it, TransientDeliveryError where it certainly has not.
        """
        deadline = Deadline(self._destination.timeout_seconds)
        connection = self._open(deadline)
        try:
            connection.sock.settimeout(deadline.left())
            connection.request(
                "POST",
                f"{self._path}/track/{kind}",
                payload,
                {**self._headers, "Idempotency-Key": idempotency_key(key)},
            )
            response = connection.getresponse()
            body = response.read(LONGEST_ANSWER)
            _check_whole(response, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            late = isinstance(error, TimeoutError) or deadline.is_over
            text = f"no whole answer within {self._destination.timeout_seconds:g} s" if late else _plain(error)
            raise AnswerLost(text) from error
        if response.will_close or not response.isclosed():
            self.close()
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() not in HIDDEN_HEADERS}
        return Answer(response.status, headers, body)

    def close(self) -> None:
        """Closes the connection; the next send opens another. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, deadline: Deadline) -> http.client.HTTPConnection:
        """The connection, made unless it still stands; its answer is read within `deadline`."""
        connection = self._connection
        if connection is None or connection.sock is None or _was_closed(connection.sock):
            self.close()
            connection = self._connection = self._connect(deadline)
        connection.response_class = functools.partial(_Response, deadline=deadline)  # type: ignore[assignment] # it is only called
        return connection

    def _connect(self, deadline: Deadline) -> http.client.HTTPConnection:
        allow = self._destination.allow_private
        try:
            sock = connect(self._host, self._port, deadline, self._resolver, allow_private=allow)
            if self._tls is None:
                connection = http.client.HTTPConnection(self._host, self._port)
            else:
                connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
                sock = self._wrap(self._tls, sock, deadline)
        except PrivateAddress as error:
            raise TransientDeliveryError(f"cannot connect: {error}: {self._destination.leave}") from error
        except (OSError, ValueError) as error:
            raise TransientDeliveryError(f"cannot connect: {_plain(error)}") from error
        connection.sock = sock
        return connection

    def _wrap(self, tls: ssl.SSLContext, sock: socket.socket, deadline: Deadline) -> ssl.SSLSocket:
        """TLS over `sock`, which is closed where that fails."""
        try:
            sock.settimeout(deadline.left())
            return tls.wrap_socket(sock, server_hostname=self._host)
        except (OSError, ValueError):
            sock.close()
            raise


def destinations_of(settings: Settings) -> list[Destination]:
    """Who receives conversions: the one of DESTINATION_URL and those of bridge.toml; with none of either, the bridge's own
    sandbox. Raises ConfigurationError."""
    found = []
    if settings.is_sandbox:
        if settings.secret_key is None:
            raise ConfigurationError("set DESTINATION_URL, or SECRET_KEY for the sandbox (`bridge up` makes one up)")
        token = sandbox_token(settings.secret_key.get_secret_value())
        found.append(_of_variables(settings, SANDBOX, f"{settings.own_url}/sandbox", token, allow_private=True))
    elif settings.destination_url is not None:
        assert settings.destination_token is not None
        allow = settings.destination_allow_private
        _check_public(settings.destination_url, allow, "DESTINATION_URL", LEAVE)
        token = settings.destination_token.get_secret_value()
        found.append(_of_variables(settings, MAIN, settings.destination_url, token, allow_private=allow))
    for name, table in settings.destination_tables.items():
        where = f"{settings.config_path}: destinations.{name}"
        leave = f"set destinations.{name}.allow_private = true if that is meant"
        _check_public(table.url, table.allow_private, f"{where}.url", leave)
        found.append(
            Destination(
                name,
                table.url,
                settings.token_of(name),
                dialect_of(table.format, table.amount_unit),
                table.timeout,
                table.concurrency,
                table.rate,
                table.allow_private,
                leave,
            )
        )
    return found


def _of_variables(settings: Settings, name: str, url: str, token: str, *, allow_private: bool) -> Destination:
    """The one destination that the variables DESTINATION_… describe."""
    return Destination(
        name,
        url,
        token,
        dialect_of(settings.destination_format, settings.destination_amount_unit),
        settings.destination_timeout,
        settings.destination_concurrency,
        settings.destination_rate,
        allow_private,
    )


def _check_public(url: str, allow_private: bool, where: str, leave: str) -> None:
    host = urlsplit(url).hostname or ""
    if not allow_private and (host == "localhost" or is_private(host)):
        raise ConfigurationError(f"{where} points at {host}, a private address: {leave}")


def sandbox_token(secret_key: str) -> str:
    """The bearer token of the bridge's own sandbox: web and workers both derive it."""
    return hashlib.sha256(b"sandbox:" + secret_key.encode()).hexdigest()


def idempotency_key(key: str) -> str:
    """`key` with everything but A-Z a-z 0-9 . _ : - percent-encoded, as a header can carry it."""
    return quote(key, safe=":").replace("~", "%7E")


def _check_whole(response: http.client.HTTPResponse, body: bytes) -> None:
    """Raises IncompleteRead where the rest of an answer never came, for which read(n) does not raise."""
    if response.length and len(body) < LONGEST_ANSWER:
        raise http.client.IncompleteRead(body, response.length)


def _was_closed(sock: socket.socket) -> bool:
    """An idle connection that has something to read was closed by the other side (or is out of step)."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())


def _plain(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def reach(url: str, timeout_seconds: float) -> tuple[bool, str]:
    """(whether it answers, in words for whoever asked). Any status is an answer."""
    began = time.perf_counter()
    try:
        answer = requests.head(url, timeout=min(timeout_seconds, 5), allow_redirects=False)
    except requests.RequestException as error:
        return False, f"does not answer ({type(error).__name__})"
    took_ms = (time.perf_counter() - began) * 1000
    return True, f"answers: {answer.status_code} to a HEAD request, after {took_ms:.0f} ms"
