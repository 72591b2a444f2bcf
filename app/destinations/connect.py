"""Getting to a host within a deadline: the look-up of its name, the addresses tried in turn, and the check of each of them.

The system's look-up of a name cannot be interrupted, so it runs on a thread of its own and only the wait for it ends. All who
ask for one name at once share one look-up, so that a resolver that hangs costs one thread, however many senders there are.
"""

import ipaddress
import socket
import threading
import time
from concurrent.futures import Future
from typing import Any

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class PrivateAddress(Exception):
    """A host that is nowhere on the public internet, and need be."""


class Deadline:
    """A moment (monotonic) by which something has to be over."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._at

    def left(self) -> float:
        """Seconds until then, more than 0. Raises TimeoutError where it is over."""
        seconds = self._at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline is over")
        return seconds


class Resolver:
    """Looks names up. Safe to share between threads; what was found is not kept, so a name may move at any time."""

    def __init__(self) -> None:
        self._flying: dict[tuple[str, int], Future[list[Address]]] = {}
        self._lock = threading.Lock()

    def look_up(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """Where `host` is, at least one address. Raises OSError, and TimeoutError where that is not known in time."""
        if _is_address(host):
            return self._ask(host, port, socket.AI_NUMERICHOST)
        with self._lock:
            found = self._flying.get((host, port))
            if found is None:
                found = self._flying[host, port] = Future()
                threading.Thread(target=self._run, args=(host, port, found), name="look-up", daemon=True).start()
        try:
            return found.result(deadline.left())
        except TimeoutError:
            raise TimeoutError(f"the name {host} was not resolved in time") from None

    def _run(self, host: str, port: int, found: "Future[list[Address]]") -> None:
        try:
            addresses = self._ask(host, port)
        except Exception as error:  # noqa: BLE001 - it is raised again, in every thread that waits
            outcome: list[Address] | Exception = error
        else:
            outcome = addresses
        with self._lock:
            del self._flying[host, port]
        if isinstance(outcome, Exception):
            found.set_exception(outcome)
        else:
            found.set_result(outcome)

    def _ask(self, host: str, port: int, flags: int = 0) -> list[Address]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        return [(family, address) for family, _, _, _, address in found]


def connect(host: str, port: int, deadline: Deadline, resolver: Resolver, *, allow_private: bool) -> socket.socket:
    """A connection to the first address of `host` that takes one; each gets its share of the time that is left.

    An address is checked before anything is sent to it, and it is the very one that is connected to, so no second look-up can
    differ. Raises OSError, and PrivateAddress where `host` has no other and they are not allowed.
    """
    usable = resolver.look_up(host, port, deadline)
    if not allow_private:
        usable = public(host, usable)
    failure: OSError | None = None
    for number, (family, address) in enumerate(usable):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.left() / (len(usable) - number))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    assert failure is not None
    raise failure


def public(host: str, addresses: list[Address]) -> list[Address]:
    """Those of `addresses` that are on the public internet. Raises PrivateAddress where none is."""
    found = [(family, address) for family, address in addresses if not is_private(address[0])]
    if not found:
        raise PrivateAddress(f"{host} is at {addresses[0][1][0]}, a private address")
    return found


def is_private(address: str) -> bool:
    """Whether `address` is an IP address that is not on the public internet; False for names."""
    try:
        return not ipaddress.ip_address(address.split("%", 1)[0]).is_global
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    return True
