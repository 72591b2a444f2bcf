"""Forwards on its own thread while Redis delivers no nudges."""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class DirectRuns:
    """`run` sends until nothing is due. Threads that call it take turns."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def ask(self) -> None:
        """Returns at once. Does nothing while the last run is still going."""
        if self.is_running:
            return
        self._thread = threading.Thread(target=self._forward, name="direct-run", daemon=True)
        self._thread.start()

    def stop(self, patience_seconds: float) -> None:
        """Waits for the current run, which ends when it sees the stop flag. Idempotent."""
        if self._thread is not None:
            self._thread.join(patience_seconds)

    def _forward(self) -> None:
        try:
            self._run()
        except Exception as error:
            log.error("forwarding.failed", exc_info=error)
