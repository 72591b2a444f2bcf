"""A TCP proxy before a real server, which can fall silent: it goes on taking bytes, acknowledges them, and answers nothing."""

import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards connections to `target`: the path of a Unix socket, or (host, port)."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._silent: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._takes_new = True
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self, *, new: bool = False) -> None:
        """No byte reaches anybody any more on the connections that are open; with `new` nor on those to come."""
        with self._lock:
            self._silent |= self._open
            self._takes_new = not new

    def restore(self) -> None:
        """Connections to come are served. Those that were silenced stay silent for ever."""
        with self._lock:
            self._takes_new = True

    def lead_to(self, target: str | tuple[str, int]) -> None:
        """Connections to come go there."""
        self._target = target

    def cut(self) -> None:
        """Ends all connections that are open."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    return
                self._open.add(client)
                if not self._takes_new:
                    self._silent.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if isinstance(self._target, str):
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
            else:
                server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        back = threading.Thread(target=self._pump, args=(server, client, client), daemon=True)
        back.start()
        self._pump(client, server, client)
        back.join()
        client.close()
        server.close()
        with self._lock:
            self._open.discard(client)
            self._silent.discard(client)

    def _pump(self, source: socket.socket, to: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if client not in self._silent:
                    to.sendall(data)
        if client not in self._silent:
            with suppress(OSError):
                to.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
