"""python -m app.web.server.serve ADDRESS PORT PROCESSES: the web under granian, in place of the `bridge web` that checked all.

One process by default, since SQLite has one writer (WEB_PROCESSES). This one is their parent, which does nothing but restart
them, so it loads nothing of the project: 17 MB instead of 52.
"""

import os
import resource
import signal
import sys
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from app.stack.processes import PARENT_VARIABLE, end_with_parent, keep_files_private

MOST_OPEN = 4096
"""Connections at once, those included that are silent."""
READ_BUFFER = 64 * 1024
"""Of each connection, and the most that its headers may take."""
OTHER_FILES = 512
"""Files and sockets of a process that are not connections."""


class StoppableServer(Server):
    """Stops in good order on SIGHUP too, on which granian would replace its processes. One that is ignored (nohup) stays so."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

    def signal_handler_reload(self, *args: Any, **options: Any) -> None:
        if not self._ignores_hangup:
            self.signal_handler_interrupt(*args, **options)


def serve(address: str, port: int, processes: int) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP."""
    server = StoppableServer(
        "app.web.factory:gateway",
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(keep_alive=True, header_read_timeout=30000, max_buffer_size=READ_BUFFER),
        websockets=False,
        workers=processes,
        loop=Loops.uvloop,
        backlog=2048,
        backpressure=allow_files(),
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        log_level=LogLevels.error,
        process_name=None,
    )
    server.serve(target_loader=load, wrap_loader=False)


def load() -> object:
    """The application, in the child that serves. The server's own loader would import from the current folder first."""
    end_with_parent()
    from app.web.factory import gateway

    return gateway()


def allow_files() -> int:
    """Raises the limit of open files as far as it may be needed; returns how many connections it has room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_OPEN if soft == resource.RLIM_INFINITY else max(64, min(MOST_OPEN, soft - OTHER_FILES))


def main() -> None:
    address, port, processes = sys.argv[1:]
    keep_files_private()
    end_with_parent()
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    serve(address, int(port), int(processes))


if __name__ == "__main__":
    main()
