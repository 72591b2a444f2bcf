"""Processor time of processes, as the kernel counts it."""

import os
from pathlib import Path

from bench.memory import family

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Of a process and all that run below it, since they began."""
    return sum(_of(member) for member in family(pid))


def _of(pid: int) -> float:
    """To a hundredth of a second; 0 for a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
