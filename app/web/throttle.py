"""Limits failed logins, by client address and in total."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from werkzeug.exceptions import TooManyRequests

MOST_FAILURES = 8
"""A minute, of one address (of one /64 in IPv6): a password of ours is pasted, so nobody needs more."""
MOST_OF_ALL = 240
"""A minute, of all addresses together: what a guess from many of them comes to, and what has to be remembered."""
WINDOW_SECONDS = 60.0
MOST_KNOWN = 1000

Network = IPv4Network | IPv6Network


class Throttle:
    """The throttle of one web process. Failures close the login to the client's own address. If failures from many addresses
    close it to everyone, it stays open to addresses with an earlier successful login."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: deque[tuple[float, str]] = deque()
        self._of: Counter[str] = Counter()
        self._known: dict[str, None] = {}
        self._lock = threading.Lock()

    def begin(self, address: str) -> None:
        """Counts a try as failed until it succeeds, so that concurrent tries are limited too. Raises TooManyRequests."""
        key = group_of(address)
        with self._lock:
            now = self._clock()
            while self._tries and now - self._tries[0][0] > WINDOW_SECONDS:
                self._drop(0)
            is_full = len(self._tries) >= MOST_OF_ALL and key not in self._known
            if is_full or self._of[key] >= MOST_FAILURES:
                raise TooManyRequests("too many failed logins: wait a minute", retry_after=int(WINDOW_SECONDS))
            self._tries.append((now, key))
            self._of[key] += 1

    def succeeded(self, address: str) -> None:
        """Does not count that one try. Earlier ones stay: else anyone with the viewers' password could guess the other forever."""
        key = group_of(address)
        with self._lock:
            last = next((n for n in reversed(range(len(self._tries))) if self._tries[n][1] == key), None)
            if last is not None:
                self._drop(last)
            self._known.pop(key, None)
            self._known[key] = None
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def _drop(self, index: int) -> None:
        key = self._tries[index][1]
        del self._tries[index]
        self._of[key] -= 1
        if self._of[key] <= 0:
            del self._of[key]


def group_of(address: str) -> str:
    """The group that is throttled together: an IPv4 address, the /64 of an IPv6 address (one client has all of it), or ""."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(IPv6Network((int(parsed), 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def network_of(address: str) -> str:
    """The network of an address, for places that must not show a whole address: the /24, or the /48 in IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network((int(parsed), 24 if parsed.version == 4 else 48), strict=False))


def client_of(remote: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The client's address: `remote` or, if that is a trusted proxy, the last address in X-Forwarded-For that is not one. Clients
    can send any value in that header, so only what our own proxies appended is trusted."""
    hops = [hop.strip() for hop in forwarded.split(",")] if forwarded else []
    address = remote
    while hops and is_in(address, trusted):
        address = _bare(hops.pop())
    return address


def _bare(hop: str) -> str:
    """The address without the port that some proxies add."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
