"""Runs the web under granian: one process with many threads by default, since SQLite has one writer (WEB_PROCESSES)."""

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from app.settings import Settings


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    server = Server(
        "app.web.factory:application",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(keep_alive=True, header_read_timeout=30000),
        websockets=False,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        backlog=2048,
        backpressure=max(settings.web_threads * 4, 256),
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        log_level=LogLevels.error,
        process_name=None,
    )
    server.serve()
