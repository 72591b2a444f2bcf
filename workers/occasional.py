"""A thread that works when a sweep asks it to, but not more often than its interval."""

import threading
import time

import structlog

from app.errors import LedgerUnavailable

log = structlog.get_logger(__name__)


class Occasional:
    """Calls `look` of a subclass when asked, at most once in `every_seconds`. Errors are logged and end nothing."""

    def __init__(self, name: str, every_seconds: float) -> None:
        self._name = name
        self._every_seconds = every_seconds
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._looked_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def look(self) -> object:
        """One round, which ends soon once `_stopping` is set. Raises LedgerUnavailable."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Returns at once."""
        self._asked.set()

    def stop(self) -> None:
        """Ends the current round as soon as possible. Another worker, or the next start, does the rest. Idempotent."""
        self._stopping.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._stopping.is_set():
                return
            if self._looked_at is not None and time.monotonic() - self._looked_at < self._every_seconds:
                continue
            self._looked_at = time.monotonic()
            try:
                self.look()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
            except Exception as error:
                log.error(f"{self._name}.broken", exc_info=error)
