"""Processor time of processes, as the kernel counts it."""

import os
from pathlib import Path
from typing import NamedTuple

from bench.memory import family

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Spent(NamedTuple):
    """Seconds, to a hundredth."""

    user: float
    system: float


def processor_seconds(pid: int) -> float:
    """Of a process and all that run below it, since they began."""
    return sum(sum(spent_by(Path(f"/proc/{member}/stat"))) for member in family(pid))


def spent_by(stat: Path) -> Spent:
    """Of the process or thread with this file; 0 where it is gone."""
    try:
        fields = stat.read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return Spent(0, 0)
    return Spent(int(fields[11]) / TICKS_A_SECOND, int(fields[12]) / TICKS_A_SECOND)


def processor_seconds_by_role(stack: int) -> dict[str, float]:
    """Of web and worker below `bridge up`, with all that runs below them."""
    seconds = {"web": 0.0, "worker": 0.0}
    counted: set[int] = set()
    for child in family(stack)[1:]:
        if child in counted:  # the web's own child has its parent's command line
            continue
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        for role, module in (("web", b"app.web.server.serve"), ("worker", b"workers")):
            if module in command:
                seconds[role] += processor_seconds(child)
                counted.update(family(child))
    return seconds
