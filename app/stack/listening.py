"""The address to listen on, and what prevents listening there."""

import errno
import socket
from typing import Any


def address_of(host: str, port: int) -> str:
    """The IP address of HOST. A name with several resolves to its first IPv4 address. Raises OSError."""
    return str(_find(host, port)[1][0])


def _find(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    entries.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, address = entries[0]
    return family, address


def reachable(host: str) -> str:
    """The address at which this machine reaches a server on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def is_answering(host: str, port: int) -> bool:
    """Whether a server listens there."""
    try:
        with socket.create_connection((reachable(host), port), timeout=1):
            return True
    except OSError:
        return False


def why_not_listen(host: str, port: int, *, shared: bool = False) -> str | None:
    """What prevents listening there, and what to do about it; None if nothing does.

    shared: another process of ours may already listen there (SO_REUSEPORT).
    """
    try:
        family, address = _find(host, port)
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        return _problem(host, port, error)
    if not shared and is_answering(str(address[0]), port):
        return _taken(host, port)
    return None


def _problem(host: str, port: int, error: OSError | UnicodeError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return _taken(host, port)
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} is not open to this user: choose one above 1023 with --port or PORT"
    if number == errno.EADDRNOTAVAIL or isinstance(error, UnicodeError):
        return f"HOST: {host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for all its addresses"
    if isinstance(error, socket.gaierror):
        return f"HOST: the name {host} cannot be resolved ({error.strerror}): use an address, such as 127.0.0.1"
    return f"HOST: cannot listen on {host}, port {port} ({error.strerror})"


def _taken(host: str, port: int) -> str:
    return f"port {port} on {host} is taken by another process: choose another with --port or PORT"
