"""Ends what tests have started when the tests themselves are killed: a process that waits for the end of a pipe.

However the tests end, the system closes the pipe. What they ended themselves is skipped, as is a process that has taken its pid.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

POSTGRES, PROCESS = "postgres", "process"
PATIENCE_SECONDS = 20.0
_reaper: "subprocess.Popen[bytes] | None" = None


def guard_process(pid: int) -> None:
    """Ends this process of ours with the tests."""
    _tell(f"{PROCESS} {pid} {_started(pid)}")


def guard_postgres(folder: Path) -> None:
    """Stops the server of this data folder with the tests, and removes the folder."""
    _tell(f"{POSTGRES} {folder}")


def _tell(line: str) -> None:
    global _reaper
    if _reaper is None:
        quiet = subprocess.DEVNULL
        _reaper = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
        )
    assert _reaper.stdin is not None
    _reaper.stdin.write(f"{line}\n".encode())
    _reaper.stdin.flush()


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _end(pid: int, started: str, number: signal.Signals) -> None:
    for sent in (number, signal.SIGKILL):
        if not started or _started(pid) != started:
            return
        with suppress(OSError):
            os.kill(pid, sent)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _started(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)


def _stop_postgres(folder: Path) -> None:
    with suppress(OSError, ValueError, IndexError):
        pid = int((folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        _end(pid, _started(pid), signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    lines = sys.stdin.read().splitlines()
    for line in reversed(lines):
        kind, _, rest = line.partition(" ")
        if kind == POSTGRES:
            _stop_postgres(Path(rest))
        else:
            pid, _, started = rest.partition(" ")
            _end(int(pid), started, signal.SIGTERM)


if __name__ == "__main__":
    main()
