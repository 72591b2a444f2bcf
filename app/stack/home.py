"""The files of `bridge up` in BRIDGE_HOME: its lock, its run file, and what the next start must end."""

import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.errors import ConfigurationError
from app.stack.processes import end, is_alive, pid_started

LOCK_FILE = "up.lock"
RUN_FILE = "run.json"
PIDS_FILE = "running.json"
STAYS = "REDIS_URL"
"""The setting that `bridge up` may have set for its parts. A reload does not change it."""


@dataclass(frozen=True)
class Running:
    """A running `bridge up`. `settings` are fingerprints by name, made with `salt`."""

    url: str
    pid: int
    started: str
    version: str
    salt: str
    settings: Mapping[str, str]
    is_sandbox: bool
    stop_seconds: float = 0.0

    def differences(self, settings: Mapping[str, str]) -> list[str]:
        """Names of settings that differ from those of the running bridge."""
        mine = fingerprints(settings, self.salt)
        return sorted(name for name in mine.keys() | self.settings.keys() if mine.get(name) != self.settings.get(name))


def fingerprints(settings: Mapping[str, str], salt: str) -> dict[str, str]:
    """Fingerprints show whether a value changed, not what it is."""
    return {
        name: hashlib.sha256(f"{salt}\0{name}\0{value}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        for name, value in settings.items()
    }


def describe_run(
    url: str, version: str, settings: Mapping[str, str], *, is_sandbox: bool, stop_seconds: float = 0.0
) -> Running:
    """Describes this process for the run file."""
    salt, pid = secrets.token_hex(16), os.getpid()
    return Running(url, pid, pid_started(pid), version, salt, fingerprints(settings, salt), is_sandbox, stop_seconds)


def update_run_file(home: Path, settings: Mapping[str, str], stop_seconds: float, is_sandbox: bool) -> None:
    """Updates the run file after a reload. Does nothing if no `bridge up` runs or the disk is full."""
    running = read_running(home)
    if running is None:
        return
    printed = fingerprints(settings, running.salt)
    printed.pop(STAYS, None)  # the parts of `bridge up` find the embedded Valkey by it
    if STAYS in running.settings:
        printed[STAYS] = running.settings[STAYS]
    with suppress(OSError):
        write_run_file(
            home, as_json(replace(running, settings=printed, stop_seconds=stop_seconds, is_sandbox=is_sandbox))
        )


def write_run_file(home: Path, running: Mapping[str, object]) -> None:
    """Raises OSError."""
    replace_file(home / RUN_FILE, json.dumps(running))


def read_running(home: Path) -> Running | None:
    """The `bridge up` running on this BRIDGE_HOME, or None."""
    try:
        running = Running(**json.loads((home / RUN_FILE).read_text(encoding="utf-8")))
        return running if is_alive(int(running.pid), str(running.started)) else None
    except (OSError, ValueError, TypeError):
        return None


def as_json(running: Running) -> dict[str, object]:
    return asdict(running)


def replace_file(path: Path, text: str) -> None:
    """Writes `path` atomically, readable only by its owner. Raises OSError and leaves the old file then."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    fresh.replace(path)


def keep_private(home: Path) -> None:
    """Removes the permissions of others from this user's files in BRIDGE_HOME, which an earlier version left. Permissions of the
    group stay, for a backup that reads as one."""
    names = ("secrets.json", "ledger.db", "ledger.db-wal", "ledger.db-shm", RUN_FILE, PIDS_FILE, LOCK_FILE, "valkey")
    for path in (home / name for name in names):
        with suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o007:
                path.chmod(mode & ~0o007)


def lock_home(home: Path) -> int | None:
    """Takes the lock of BRIDGE_HOME, which lasts until its descriptor is closed: until this process and those that replace it
    by exec have ended, however they end. None if the file system knows no locks.

    Raises ConfigurationError if another process has it: two on one home would fight over the port and the files.
    """
    try:
        descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"BRIDGE_HOME: {home / LOCK_FILE} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        running = read_running(home)
        which = f" (process {running.pid})" if running else ""
        raise ConfigurationError(f"`bridge up` is already running on {home}{which}: stop it first") from None
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def end_leftovers(home: Path, patience_seconds: float) -> int:
    """Ends what an earlier `bridge up` on the same BRIDGE_HOME left when it was killed. Returns how many processes.

    Raises ConfigurationError if that one still runs, which the lock cannot tell on every file system.
    """
    path = home / PIDS_FILE
    try:
        pids = json.loads(path.read_text(encoding="utf-8"))
        *parts, supervisor = [(int(pid), str(started)) for pid, started in pids]
    except (OSError, ValueError, TypeError):
        return 0
    if supervisor[0] != os.getpid() and supervisor[1] and pid_started(supervisor[0]) == supervisor[1]:
        raise ConfigurationError(f"`bridge up` is already running on {home} (process {supervisor[0]}): stop it first")
    left = [(pid, started) for pid, started in parts if started and pid_started(pid) == started]
    for pid, started in reversed(left):
        end(pid, started, patience_seconds)
    path.unlink(missing_ok=True)
    return len(left)
