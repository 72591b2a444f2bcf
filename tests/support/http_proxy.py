"""An HTTP proxy for tests: forwards requests, tunnels CONNECT, and remembers what it was asked."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.support.raw_server import Server


class Proxy(Server):
    """`target`: where everything goes, whatever name was asked for."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(self._serve_one)
        self.target = target
        self.heads: list[str] = []

    def _serve_one(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, rest = received.partition(b"\r\n\r\n")
        self.heads.append(head.decode("latin-1"))
        with socket.create_connection(self.target) as upstream:
            if head.startswith(b"CONNECT "):
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                method, url, version = head.split(b"\r\n", 1)[0].split(b" ")
                path = urlsplit(url.decode()).path.encode()
                upstream.sendall(b" ".join((method, path, version)) + head[head.index(b"\r\n") :] + b"\r\n\r\n" + rest)
            threading.Thread(target=_copy, args=(upstream, connection), daemon=True).start()
            _copy(connection, upstream)


def _copy(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            to.sendall(part)
        to.shutdown(socket.SHUT_WR)
