"""Runs the web under granian: one process by default, since SQLite has one writer (WEB_PROCESSES)."""

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from app.settings import Settings

MOST_OPEN = 4096
"""Requests at once, those included that wait for their bodies."""


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    server = Server(
        "app.web.factory:gateway",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(keep_alive=True, header_read_timeout=30000),
        websockets=False,
        workers=settings.web_processes,
        loop=Loops.asyncio,
        backlog=2048,
        backpressure=MOST_OPEN,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        log_level=LogLevels.error,
        process_name=None,
    )
    server.serve()
