"""How `bridge up` notices a stuck worker: the worker writes a byte into a pipe after each sweep."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress

VARIABLE = "BRIDGE_HEART"
"""The child's file descriptor to write to."""


class Heart:
    """The pipe of one process, kept when the process restarts."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self.writing, False)
        self._beat_at: float | None = None

    def start(self) -> None:
        """Called when the process starts. It is not silent before its first beat, since it may wait for the ledger."""
        self.silent_seconds()
        self._beat_at = None

    def silent_seconds(self) -> float:
        """How long ago the last beat was, by the monotonic clock, which stops while the machine sleeps."""
        with suppress(BlockingIOError):
            while os.read(self._reading, 4096):
                self._beat_at = time.monotonic()
        return 0.0 if self._beat_at is None else time.monotonic() - self._beat_at


def beat(environment: Mapping[str, str] = os.environ) -> None:
    """Called by the process itself. Does nothing if nobody listens."""
    with suppress(OSError, ValueError, KeyError):
        os.write(int(environment[VARIABLE]), b".")
