"""Processes as the operating system sees them: who still lives, and ending with one's parent."""

import os
import signal
import threading
import time
from pathlib import Path


def pid_started(pid: int) -> str:
    """When a process began, as its system tells it: with the pid it names a process for ever. "" where it cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def is_alive(pid: int, started: str) -> bool:
    """Whether that very process still runs. Where the system does not tell start times, any process of that pid counts."""
    if started:
        return pid_started(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end(pid: int, started: str, patience_seconds: float) -> None:
    """SIGTERM, and SIGKILL if it is still there after a while. Does nothing where that process is gone."""
    for number, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 5.0)):
        if not is_alive(pid, started):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while is_alive(pid, started) and time.monotonic() < deadline:
            time.sleep(0.02)


def end_with_parent(patience_seconds: float = 12.0) -> None:
    """Starts a thread that ends this process when the one that started it is gone (killed outright)."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_seconds)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
