"""Silent connections, bounded for each client.

The server accepts a bounded number of connections. A silent one never becomes a request, so no handler sees it; it keeps its
place until the server's timeout for headers, and one machine could take every place. So this module inspects the sockets of
the process. If a client has too many that no request uses, it shuts them down, oldest first.
"""

import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import structlog

from app.web.throttle import Network, group_of, is_in

MOST_SILENT = 128
"""The most idle connections of one client: kept alive, or without a request yet."""
FEW_OPEN = 256
"""With fewer open files than this, nothing is checked."""
EVERY_SECONDS = 0.5
DESCRIPTORS = "/dev/fd"

log = structlog.get_logger(__name__)

Peer = tuple[str, int]
"""Address and port of a client's end."""


class SilentConnections:
    """Watches the connections to `port`. `busy`: the clients ("address:port") that are in a request now. exempt: our own
    proxies, whose connections carry the requests of all clients."""

    def __init__(self, port: int, busy: Collection[str], exempt: Sequence[Network], most: int = MOST_SILENT) -> None:
        self._port = port
        self._busy = busy
        self._exempt = exempt
        self._most = most
        self._known: dict[Peer, None] = {}
        """Idle ones at the last look, oldest first."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="silent-connections", daemon=True).start()

    def look(self) -> int:
        """Closes the excess and returns how many."""
        connections = dict(connections_to(self._port))
        try:
            silent = {peer: None for peer in connections if not self._is_busy(peer)}
            known = {peer: None for peer in self._known if peer in silent}
            closed = self._shut_down(connections, list(known | silent), new=silent.keys() - known.keys())
            self._known = known | silent
        finally:
            for connection in connections.values():
                connection.close()
        return closed

    def _shut_down(self, connections: dict[Peer, socket.socket], silent: list[Peer], new: Collection[Peer]) -> int:
        groups = {peer: group_of(peer[0]) for peer in silent if not is_in(peer[0], self._exempt)}
        excess = Counter(groups.values())
        excess.subtract(dict.fromkeys(excess, self._most))
        closed = 0
        for peer, group in groups.items():
            if excess[group] > 0 and peer not in new:  # a new one may be about to send its request
                excess[group] -= 1
                closed += 1
                with suppress(OSError):
                    connections[peer].shutdown(socket.SHUT_RDWR)
        return closed

    def _is_busy(self, peer: Peer) -> bool:
        address, port = peer
        return (f"[{address}]:{port}" if ":" in address else f"{address}:{port}") in self._busy

    def _run(self) -> None:
        wait = threading.Event()
        while not wait.wait(EVERY_SECONDS):
            try:
                if len(_descriptors()) > FEW_OPEN and (closed := self.look()):
                    log.warning("connections.closed", count=closed, reason="too many silent ones of one client")
            except Exception as error:  # a bug must not end the thread
                log.error("connections.unwatched", exc_info=error)


def connections_to(port: int) -> Iterator[tuple[Peer, socket.socket]]:
    """The accepted connections of this process to a TCP port of its own: the client's end, and a duplicate to be closed."""
    for descriptor in _descriptors():
        connection = _socket(descriptor)
        if connection is None:
            continue
        with suppress(OSError):
            is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
            if is_tcp and connection.getsockname()[1] == port:
                address, client_port = connection.getpeername()[:2]  # a listening socket has none, and raises
                yield (address, client_port), connection
                continue
        connection.close()


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir(DESCRIPTORS)]  # noqa: PTH208 - names alone, thousands of them


def _socket(descriptor: int) -> socket.socket | None:
    """A duplicate of the descriptor if it is a socket. It may have been closed or reused by now."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
