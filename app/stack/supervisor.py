"""`bridge up`: the whole stack in one foreground process. A process that dies is restarted with back-off."""

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from app.stack.heart import VARIABLE as HEART_VARIABLE
from app.stack.heart import Heart
from app.stack.home import PIDS_FILE, RUN_FILE, read_running, replace_file, write_run_file
from app.stack.processes import STOP_MARGIN_SECONDS, StopFlag, command, isolated, pid_started

LogFormat = Literal["text", "json"]
Logs = tuple[str, LogFormat | None]
"""Level and format of the log."""
RUNS_AGAIN_SECONDS = 1.0
"""Seconds between attempts to write files that could not be written."""
STOP_PATIENCE_SECONDS = 12.0
"""For what does not say that it takes longer."""
LONGEST_BACKOFF_SECONDS = 20.0
STEADY_SECONDS = 30.0
STUCK_SECONDS = 60.0
"""A worker whose sweep has not come round for that long is started again. One sweep takes a moment, and each of its statements has
a deadline."""
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
    heart: Heart | None = None
    reloads: bool = False
    """Whether SIGHUP makes it reload its configuration."""
    ended_at: float | None = None
    """When it was asked to end, because it was stuck."""


class Supervisor:
    """Starts processes, watches them, and stops them in reverse order."""

    def __init__(self, home: Path, logs: Logs = ("info", None), running: Mapping[str, object] | None = None) -> None:
        """running: what the run file is to say."""
        self._home = home
        self._logs = logs
        self._running = running
        self._parts: list[Part] = []
        self._stop = StopFlag()
        self._unwritten = True
        self._write_again_at = 0.0

    def add(
        self,
        name: str,
        start: Callable[[], "subprocess.Popen[bytes]"],
        patience_seconds: float = STOP_PATIENCE_SECONDS,
        heart: Heart | None = None,
        *,
        reloads: bool = True,
    ) -> None:
        """heart: what the part writes to, and is ended for where it does not any more. reloads: whether SIGHUP is for it too."""
        part = Part(name, start, patience_seconds=patience_seconds, heart=heart, reloads=reloads)
        self._parts.append(part)
        self._launch(part)

    def ask_to_stop(self) -> None:
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def watch(self, until: Callable[[], bool] | None = None, seconds: float = math.inf) -> bool:
        """Restarts what dies: at once the first time, then with growing pauses. Returns when asked to stop, after the given
        seconds, and True as soon as `until()` is."""
        deadline = time.monotonic() + seconds
        while not self._stop.wait(0.1) and time.monotonic() < deadline:
            for part in self._parts:
                if part.process is not None and part.process.poll() is not None:
                    self._bury(part)
                if part.process is not None and part.heart is not None:
                    self._end_if_stuck(part, part.process, part.heart)
                if part.process is None and time.monotonic() >= part.start_at:
                    self._launch(part)
            if self._unwritten and time.monotonic() >= self._write_again_at:
                self._write_files()
            if until is not None and until():
                return True
        return False

    def stop(self) -> None:
        """Stops all processes, newest first and those of one kind together, and kills what does not stop. Idempotent."""
        for _, group in groupby(reversed(self._parts), lambda part: part.name.split(" ")[0]):
            running = [part for part in group if part.process is not None and part.process.poll() is None]
            for part in running:
                assert part.process is not None
                part.process.terminate()
            asked = time.monotonic()
            for part in running:
                self._await(part, max(0.0, asked + self._patience(part) - time.monotonic()))
        for name in (RUN_FILE, PIDS_FILE):
            with suppress(OSError):
                (self._home / name).unlink(missing_ok=True)

    def _await(self, part: Part, seconds: float) -> None:
        assert part.process is not None
        try:
            part.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._warn("part.killed", part=part.name)
            part.process.kill()
            part.process.wait()

    def _warn(self, event: str, **fields: object) -> None:
        _logger(self._logs).warning(event, **fields)

    def _launch(self, part: Part) -> None:
        """Starts a process. If that fails (no memory, a full disk), it is retried like one that died at once."""
        part.started = time.monotonic()
        part.ended_at = None
        if part.heart is not None:
            part.heart.start()
        try:
            part.process = part.start()
        except OSError as error:
            part.failures += 1
            self._pause(part, error=error.strerror)
            return
        self._write_files()

    def _write_files(self) -> None:
        """Writes what runs, for other commands and for the next start. If the disk is full, it is tried again."""
        pids = [(p.process.pid, pid_started(p.process.pid)) for p in self._parts if p.process is not None]
        pids.append((os.getpid(), pid_started(os.getpid())))
        try:
            replace_file(self._home / PIDS_FILE, json.dumps(pids))
            if self._running is not None and not self._is_in_run_file():
                write_run_file(self._home, self._running)
        except OSError as error:
            if not self._unwritten or self._write_again_at == 0.0:
                self._warn("home.unwritable", folder=str(self._home), error=error.strerror)
            self._unwritten, self._write_again_at = True, time.monotonic() + RUNS_AGAIN_SECONDS
        else:
            self._unwritten = False

    def _is_in_run_file(self) -> bool:
        """Whether the run file is this process's already. A reload may have changed what it says."""
        running = read_running(self._home)
        return running is not None and running.pid == os.getpid()

    def reload(self) -> None:
        """Asks web and workers to reload their configuration. Safe in a signal handler."""
        for part in self._parts:
            if part.reloads and part.process is not None and part.process.poll() is None:
                part.process.send_signal(signal.SIGHUP)

    def _patience(self, part: Part) -> float:
        """How long a part may take to stop. A reload may have given the workers more time."""
        running = read_running(self._home) if part.heart is not None else None
        return max(part.patience_seconds, running.stop_seconds + STOP_MARGIN_SECONDS if running else 0.0)

    def _end_if_stuck(self, part: Part, process: "subprocess.Popen[bytes]", heart: Heart) -> None:
        silent = heart.silent_seconds()
        if part.ended_at is None:
            if silent > STUCK_SECONDS:
                self._warn("part.stuck", part=part.name, silent_seconds=round(silent))
                part.ended_at = time.monotonic()
                process.terminate()
        elif time.monotonic() - part.ended_at > self._patience(part):
            process.kill()

    def _bury(self, part: Part) -> None:
        assert part.process is not None
        lived = time.monotonic() - part.started
        part.failures = 1 if lived > STEADY_SECONDS else part.failures + 1
        status, part.process = part.process.returncode, None
        self._pause(part, status=status)

    def _pause(self, part: Part, **why: object) -> None:
        pause = min(0.2 * 2 ** (part.failures - 1), LONGEST_BACKOFF_SECONDS)
        self._warn("part.died", part=part.name, **why, restart_in_seconds=pause)
        part.start_at = time.monotonic() + pause


def log_failure(logs: Logs, error: BaseException) -> None:
    """Logs what ended the supervisor itself."""
    _logger(logs).error("supervisor.failed", exc_info=error)


def _logger(logs: Logs) -> Any:
    """The logger, whose libraries take 10 MB and are loaded only on first use, since this process rarely logs."""
    import structlog

    from app.logs import configure_logs

    configure_logs(*logs)
    return structlog.get_logger(__name__)


def child(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], heart: Heart | None = None
) -> "subprocess.Popen[bytes]":
    """Starts a part in its own session, so that Ctrl-C reaches only the supervisor. It ends with this process."""
    if heart is not None:
        environment = {**environment, HEART_VARIABLE: str(heart.writing)}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and modules
        command(module, *arguments),
        env=isolated(environment, parent=os.getpid()),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=() if heart is None else (heart.writing,),
    )
