"""python -m app.web.server.serve ADDRESS PORT PROCESSES FORMAT: the web under granian, after `bridge web` has checked everything.

One process by default, since SQLite has one writer (WEB_PROCESSES). This process is their parent. It only restarts them, so it
loads nothing of the project: 17 MB instead of 52.
"""

import gc
import json
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from app.stack.processes import PARENT_VARIABLE, end_with_parent, has_terminal, hold_hangups, keep_files_private

MOST_OPEN = 4096
"""Connections at once, those included that are silent."""
READ_BUFFER = 64 * 1024
"""Of each connection, and the most that its headers may take."""
OTHER_FILES = 512
"""Files and sockets of a process that are not connections."""


class StoppableServer(Server):
    """On SIGHUP, granian would replace its processes. This server forwards it, so that they reload their configuration. If a
    closing terminal sends it, the server stops cleanly. An ignored SIGHUP (nohup) stays ignored."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self.reloads = not self._ignores_hangup and not has_terminal()

    def signal_handler_reload(self, *args: Any, **options: Any) -> None:
        if self.reloads:
            for worker in list(self.wrks):
                with suppress(ProcessLookupError):
                    os.kill(worker.inner.pid, signal.SIGHUP)
        elif not self._ignores_hangup:
            self.signal_handler_interrupt(*args, **options)


class JsonLines(logging.Formatter):
    """The server's own log lines, in the format of the rest of the log, without its libraries."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"logger": record.name.lstrip("_"), "event": record.getMessage()}
        line |= {
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_config(log_format: str) -> dict[str, object]:
    """The dictionary for logging.config, in which the server sets its own level."""
    line = {"()": JsonLines} if log_format == "json" else {"format": "%(levelname)s granian: %(message)s"}
    return {
        "formatters": {"line": line},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}},
        "loggers": {"_granian": {"handlers": ["stderr"], "propagate": False}},
    }


def serve(address: str, port: int, processes: int, log_format: str) -> None:
    """Serves until SIGTERM or SIGINT, or SIGHUP of a terminal."""
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
        log_dictconfig=log_config(log_format),
        process_name=None,
    )
    server.serve(target_loader=partial(load, log_format, server.reloads), wrap_loader=False)


def load(log_format: str, hangups: bool) -> object:
    """The application, in the child that serves. The server's own loader would import from the current folder first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, signal.SIG_DFL
        )  # until it serves; the parent's handlers, which it inherits, do nothing here
    if hangups:
        hold_hangups()
    else:  # a closing terminal sends it to this process too, and the parent stops it cleanly
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_with_parent()
    gc.disable()  # imports leave no garbage, and collecting it takes a fifth of the start
    import structlog

    from app.errors import BridgeError
    from app.logs import configure_logs
    from app.web.factory import gateway

    gc.enable()
    configure_logs(log_format="text" if log_format == "text" else "json")
    try:
        return gateway(hangups)
    except BridgeError as error:
        structlog.get_logger(__name__).error("web.refused", error=str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said as a line of the log
        structlog.get_logger(__name__).error("web.failed", exc_info=error)
    sys.exit(1)


def allow_files() -> int:
    """Raises the limit of open files as far as needed, and returns how many connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST_OPEN + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_OPEN if soft == resource.RLIM_INFINITY else max(64, min(MOST_OPEN, soft - OTHER_FILES))


def main() -> None:
    address, port, processes, log_format = sys.argv[1:]
    keep_files_private()
    end_with_parent()
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    serve(address, int(port), int(processes), log_format)


if __name__ == "__main__":
    main()
