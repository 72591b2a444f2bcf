"""A port for a process that a test starts, and for nobody else."""

import random
import socket
from pathlib import Path


class Port:
    """A port of 127.0.0.1 that is bound for as long as this is open, so that nobody else is given it.

    Only a server that sets SO_REUSEPORT, as granian does, can listen on it meanwhile; until one does it refuses connections. A port
    that was merely free a moment ago is anybody's until its process has started, and the other half of the tests binds many.
    number: that one, of a server that has just been closed.
    """

    def __init__(self, number: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", number))
        self.number: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.number}"

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def __enter__(self) -> "Port":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def quiet_port() -> int:
    """One that is free and stays so: the system gives nobody who asks for just any port one below 32768.

    For a server that looks first whether it is free, and would find one of the above taken.
    """
    while True:
        number = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
        return number


def listens(port: int) -> bool:
    """Whether somebody listens there. Cheaper than a request that is refused."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listeners(port: int) -> list[str]:
    """The sockets that listen on a port, as the kernel lists them (state 0A)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
