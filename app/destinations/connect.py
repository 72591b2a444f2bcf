"""Opens a connection to a host by a deadline: name resolution, a check of each address, an optional proxy, and TLS.

The system's resolver cannot be interrupted, so it runs in a thread of its own and only the wait for it ends. Concurrent look-ups
of one name share a thread, so a resolver that hangs costs one thread, however many requests wait for it.
"""

import asyncio
import base64
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import certifi

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
P = TypeVar("P", bound=asyncio.Protocol)
LONGEST_PROXY_ANSWER = 16 * 1024
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(Exception):
    """A host that has no address on the public internet, and needs one."""


class Resolver:
    """Resolves names for one event loop. Results are not cached, so a name may move at any time."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def look_up(self, host: str, port: int) -> list[Address]:
        """The addresses of `host`, at least one. Raises OSError."""
        if _ip_address(host) is not None:
            return self._ask(host, port, socket.AI_NUMERICHOST)
        running = self._running.get((host, port))
        if running is None:
            loop = asyncio.get_running_loop()
            running = self._running[host, port] = loop.create_future()
            running.add_done_callback(lambda future: future.cancelled() or future.exception())  # all may have left
            threading.Thread(target=self._run, args=(loop, host, port), name="look-up", daemon=True).start()
        return await asyncio.shield(running)

    def _run(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        answer: list[Address] | Exception
        try:
            answer = self._ask(host, port)
        except Exception as error:  # noqa: BLE001 - raised again, in every request that waits
            answer = error
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._settle, host, port, answer)

    def _settle(self, host: str, port: int, answer: list[Address] | Exception) -> None:
        running = self._running.pop((host, port))
        if isinstance(answer, Exception):
            running.set_exception(answer)
        else:
            running.set_result(answer)

    def _ask(self, host: str, port: int, flags: int = 0) -> list[Address]:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        return [(family, address) for family, _, _, _, address in entries]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect. `hint` says what to do where the address is private and must not be.

    `proxy` is the URL of an HTTP proxy; it resolves the host itself, so only its own address is looked up here, and may be
    private.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    allow_private: bool = False
    hint: str = ""
    proxy: str | None = None


async def open_connection(endpoint: Endpoint, make: Callable[[], P], resolver: Resolver, deadline: float) -> P:
    """A protocol of `make` on a new connection, with TLS where the endpoint has it, by `deadline` (monotonic).

    Raises OSError (also TimeoutError, and ssl.SSLError where the certificate is refused), and PrivateAddress.
    """
    loop = asyncio.get_running_loop()
    if endpoint.proxy is None:
        sock = await connect(endpoint.host, endpoint.port, resolver, deadline, endpoint.allow_private)
    else:
        sock = await _connect_by_proxy(endpoint, endpoint.proxy, resolver, deadline)
    name = endpoint.host if endpoint.tls else None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        sock.close()
        raise TimeoutError("the deadline is over")
    try:
        async with asyncio.timeout(seconds):
            _, protocol = await loop.create_connection(make, sock=sock, ssl=endpoint.tls, server_hostname=name)
            return protocol
    except TimeoutError:
        raise TimeoutError("TLS was not established in time") from None


async def connect(
    host: str, port: int, resolver: Resolver, deadline: float, allow_private: bool = False
) -> socket.socket:
    """A socket connected to the first address of `host` that accepts; each gets its share of the time that is left.

    Addresses are checked, and what was checked is what is connected to: no second look-up can give another one. Raises OSError,
    and PrivateAddress where `host` has no public address and `allow_private` is false.
    """
    try:
        async with asyncio.timeout(_left(deadline)):
            usable = await resolver.look_up(host, port)
    except TimeoutError:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if not allow_private:
        usable = public(host, usable)
    failure: OSError | None = None
    for number, (family, address) in enumerate(usable):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(_left(deadline) / (len(usable) - number)):
                await asyncio.get_running_loop().sock_connect(sock, address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    assert failure is not None
    raise failure


async def _connect_by_proxy(endpoint: Endpoint, proxy: str, resolver: Resolver, deadline: float) -> socket.socket:
    """A socket to the proxy; where the endpoint has TLS, to the endpoint itself through a tunnel (CONNECT)."""
    parts = urlsplit(proxy)
    assert parts.hostname is not None
    sock = await connect(parts.hostname, parts.port or 80, resolver, deadline, allow_private=True)
    if endpoint.tls is None:
        return sock
    try:
        async with asyncio.timeout(_left(deadline)):
            await _tunnel(sock, f"{bracketed(endpoint.host)}:{endpoint.port}", proxy_authorization(proxy))
    except BaseException:
        sock.close()
        raise
    return sock


async def _tunnel(sock: socket.socket, target: str, authorization: str | None) -> None:
    loop = asyncio.get_running_loop()
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = await loop.sock_recv(sock, 4096)
        answer += more
        if not more or len(answer) > LONGEST_PROXY_ANSWER:
            raise ConnectionError("the proxy did not open a tunnel")
    status = answer.split(b"\r\n", 1)[0].split(b" ")[1:2]
    if status != [b"200"]:
        code = status[0][:3].decode("latin-1") if status else "nothing"
        raise ConnectionError(f"the proxy answered {code} to CONNECT")


def proxy_authorization(proxy: str) -> str | None:
    """The Proxy-Authorization header for the user and password in a proxy's URL; None if it has none."""
    parts = urlsplit(proxy)
    if not parts.username:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def tls_context() -> ssl.SSLContext:
    """Verifies certificates against the list that certifi ships, not the machine's."""
    return ssl.create_default_context(cafile=certifi.where())


def public(host: str, addresses: list[Address]) -> list[Address]:
    """Those of `addresses` that are on the public internet. Raises PrivateAddress if none is."""
    allowed = [(family, address) for family, address in addresses if not is_private(address[0])]
    if not allowed:
        raise PrivateAddress(f"{host} is at {addresses[0][1][0]}, a private address")
    return allowed


def is_private(address: str) -> bool:
    """Whether `address` is an IP address that is not on the public internet; False for names."""
    parsed = _ip_address(address)
    if parsed is None:
        return False
    inner = _embedded(parsed)
    return not parsed.is_global or parsed.is_multicast or (inner is not None and not inner.is_global)


def bracketed(host: str) -> str:
    """`host` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return None


def _left(deadline: float) -> float:
    """Seconds until `deadline`, more than 0. Raises TimeoutError if it is over."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline is over")
    return seconds
