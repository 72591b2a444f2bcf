"""`bridge up`: the whole stack in one foreground process. A part that dies is started again, with back-off."""

import errno
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from app.errors import ConfigurationError
from app.stack.processes import end, pid_started

PIDS_FILE = "running.json"
STOP_PATIENCE_SECONDS = 12.0
"""For what does not say that it takes longer."""
LONGEST_BACKOFF_SECONDS = 20.0
STEADY_SECONDS = 30.0
LONGEST_SOCKET_PATH = 100
"""In bytes. Unix socket paths end at some 104 of them; a deeper BRIDGE_HOME gets a TCP port on the loopback instead."""


@dataclass
class Part:
    """One child process and how to start it."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    failures: int = 0
    start_at: float = field(default=0.0)
    patience_seconds: float = STOP_PATIENCE_SECONDS
    """How long it may take to stop."""


class Supervisor:
    """Starts parts, watches them, and ends them in the reverse order."""

    def __init__(self, home: Path, log_level: str = "info") -> None:
        self._home = home
        self._log_level = log_level
        self._parts: list[Part] = []
        self._stop = threading.Event()

    def add(
        self,
        name: str,
        start: Callable[[], "subprocess.Popen[bytes]"],
        patience_seconds: float = STOP_PATIENCE_SECONDS,
    ) -> None:
        part = Part(name, start, patience_seconds=patience_seconds)
        self._parts.append(part)
        self._launch(part)

    def ask_to_stop(self) -> None:
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def watch(self, until: Callable[[], bool] | None = None, seconds: float = math.inf) -> bool:
        """Restarts what dies: at once the first time, then with a growing pause. Returns when asked to stop, when so many
        seconds are over, and True as soon as `until()` is."""
        deadline = time.monotonic() + seconds
        while not self._stop.wait(0.1) and time.monotonic() < deadline:
            for part in self._parts:
                if part.process is not None and part.process.poll() is not None:
                    self._bury(part)
                if part.process is None and time.monotonic() >= part.start_at:
                    self._launch(part)
            if until is not None and until():
                return True
        return False

    def stop(self) -> None:
        """Asks all parts to end, newest first and those of one kind (worker 1, worker 2) at once, and kills what does not.

        Idempotent.
        """
        for _, group in groupby(reversed(self._parts), lambda part: part.name.split(" ")[0]):
            running = [part for part in group if part.process is not None and part.process.poll() is None]
            for part in running:
                assert part.process is not None
                part.process.terminate()
            asked = time.monotonic()
            for part in running:
                self._await(part, max(0.0, asked + part.patience_seconds - time.monotonic()))
        (self._home / PIDS_FILE).unlink(missing_ok=True)

    def _await(self, part: Part, seconds: float) -> None:
        assert part.process is not None
        try:
            part.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._warn("part.killed", part=part.name)
            part.process.kill()
            part.process.wait()

    def _warn(self, event: str, **fields: object) -> None:
        """The libraries of the log take 10 MB, for a process that mostly has nothing to say: they come when it has."""
        import structlog

        from app.logs import configure_logs

        configure_logs(self._log_level)
        structlog.get_logger(__name__).warning(event, **fields)

    def _launch(self, part: Part) -> None:
        part.process = part.start()
        part.started = time.monotonic()
        pids = [(p.process.pid, pid_started(p.process.pid)) for p in self._parts if p.process is not None]
        pids.append((os.getpid(), pid_started(os.getpid())))
        fresh = self._home / (PIDS_FILE + ".new")
        fresh.write_text(json.dumps(pids), encoding="utf-8")
        fresh.replace(self._home / PIDS_FILE)

    def _bury(self, part: Part) -> None:
        assert part.process is not None
        lived = time.monotonic() - part.started
        part.failures = 1 if lived > STEADY_SECONDS else part.failures + 1
        pause = min(0.2 * 2 ** (part.failures - 1), LONGEST_BACKOFF_SECONDS)
        self._warn("part.died", part=part.name, status=part.process.returncode, restart_in_seconds=pause)
        part.process = None
        part.start_at = time.monotonic() + pause


def end_leftovers(home: Path, patience_seconds: float) -> int:
    """Ends what an earlier `bridge up` on the same BRIDGE_HOME left when it was killed. Returns how many processes.

    Raises ConfigurationError where that one still runs: two on one home would fight over the port and the files.
    """
    path = home / PIDS_FILE
    try:
        pids = json.loads(path.read_text(encoding="utf-8"))
        *parts, supervisor = [(int(pid), str(started)) for pid, started in pids]
    except (OSError, ValueError, TypeError):
        return 0
    if supervisor[1] and pid_started(supervisor[0]) == supervisor[1]:
        raise ConfigurationError(f"`bridge up` runs already on {home} (process {supervisor[0]}); stop it first")
    left = [(pid, started) for pid, started in parts if started and pid_started(pid) == started]
    for pid, started in reversed(left):
        end(pid, started, patience_seconds)
    path.unlink(missing_ok=True)
    return len(left)


def child(arguments: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """A part of ours, in this process's session but not its foreground: Ctrl-C reaches the supervisor alone."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and modules
        [sys.executable, *arguments], env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True
    )


def is_answering(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def why_not_listen(host: str, port: int) -> str | None:
    """What keeps us from listening there, and what to do about it; None where nothing does."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} on {host} is taken: choose another with --port or PORT"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"port {port} is not open to this user: choose one above 1023 with --port or PORT"
        return f"HOST: {host} is no address of this machine ({error.strerror})"
    return None
