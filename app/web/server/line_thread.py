"""Writes log lines on its own thread, so that the event loop never waits for the log's reader."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

from app.logs import lines_together

MOST_WAITING = 10_000
MOST_TOGETHER = 256
GATHER_SECONDS = 0.02
"""How long lines gather before they are written together."""

log = structlog.get_logger(__name__)


class LineThread:
    """`put` returns at once. While MOST_WAITING lines wait, further ones are dropped; their number is logged later."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def put(self, write: Callable[[], None]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append(write)
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
            self._thread.start()
        if not self._something.is_set():
            self._something.set()

    def stop(self) -> None:
        """Writes waiting lines and ends the thread. Idempotent."""
        self._stopping.set()
        self._something.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._something.wait()
            self._stopping.wait(GATHER_SECONDS)
            self._something.clear()
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        while self._waiting:
            with lines_together():
                for _ in range(min(len(self._waiting), MOST_TOGETHER)):
                    with suppress(Exception):  # a line that cannot be written is lost, and no more than that
                        self._waiting.popleft()()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warning("log.dropped", lines=dropped)
