"""Memory of a tree of processes: the proportional set size, which counts a shared page once, split between its users."""

import threading
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """`pid` and all processes below it."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                pids += family(int(child))
        except OSError:
            continue
    return pids


def resident_mb(pid: int, *, without_cache: bool = False) -> float:
    """Of the whole tree, in MB (10^6 bytes). without_cache: what is shared on purpose is left out, as PostgreSQL's buffers are."""
    total = 0
    for member in family(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Pss")}
        total += sizes["Pss"] - (sizes.get("Pss_Shmem", 0) if without_cache else 0)
    return total * 1024 / 1e6


def descriptors(pid: int) -> int:
    """That the whole tree has open."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            total += len(list(Path(f"/proc/{member}/fd").iterdir()))
    return total


class Watch:
    """Looks every second while its block runs; `most_mb` is the largest that it saw."""

    def __init__(self, pid: int) -> None:
        self.most_mb = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(1.0):
            self.most_mb = max(self.most_mb, resident_mb(self._pid))
