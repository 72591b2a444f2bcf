"""Debian's PgBouncer before a PostgreSQL of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from sqlalchemy import make_url

from tests.support.ports import quiet_port

PATIENCE_SECONDS = 100
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "*** PGBOUNCER IS NOT INSTALLED: apt-get install pgbouncer ***"


class PgBouncer:
    """A pooler for the server of `url`. settings: further lines of its [pgbouncer] section."""

    def __init__(self, url: str, *, mode: str = "transaction", **settings: str) -> None:
        assert PROGRAM is not None
        parsed = make_url(url)
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-pgb-"))
        self.folder.chmod(0o777)
        self.port = quiet_port()
        host = str(parsed.query.get("host") or parsed.host)
        lines = [
            "[databases]",
            f"* = host={host} port={parsed.port or 5432} user=postgres",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = any",
            f"pool_mode = {mode}",
            "default_pool_size = 5",
            "max_client_conn = 1000",  # a proxy that fell silent keeps its connections here for ever; 100 are soon used up
            *[f"{name} = {value}" for name, value in settings.items()],
        ]
        config = self.folder / "pgbouncer.ini"
        config.write_text("\n".join(lines) + "\n")
        config.chmod(0o644)
        self.log = (self.folder / "log.txt").open("wb")
        self._process = subprocess.Popen(
            [PROGRAM, str(config)],
            stdout=self.log,
            stderr=self.log,
            user=_owner(host),
        )
        self.url = parsed.set(host="127.0.0.1", port=self.port, query={}).render_as_string(hide_password=False)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log.txt").read_text("utf-8", "replace")
                time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _owner(host: str) -> int | None:
    """Whose process it has to be: PgBouncer refuses to run as root, and the server's socket is its owner's alone."""
    if os.getuid():
        return None
    return Path(host, ".s.PGSQL.5432").stat().st_uid if host.startswith("/") else 65534
