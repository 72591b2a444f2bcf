"""Processor time of each thread of a process, in user mode and in the kernel, and what it writes: which step costs what."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.memory import family
from bench.processor import Spent, spent_by
from bench.table import Row, number

LEAST_US = 2.0
"""Threads that take less are left out."""
SERVER = "HTTP server"
"""A thread that py-spy does not know runs no Python: it is one of granian's."""


class Written(NamedTuple):
    """To files and sockets."""

    size: int
    calls: int


def written(pid: int) -> Written:
    """By a process and all that run below it, since they began."""
    size = calls = 0
    for member in family(pid):
        try:
            lines = Path(f"/proc/{member}/io").read_text().splitlines()
        except OSError:
            continue
        counts = {name: int(count) for name, count in (line.split(": ") for line in lines)}
        size, calls = size + counts["wchar"], calls + counts["syscw"]
    return Written(size, calls)


def by_thread(pid: int) -> dict[int, Spent]:
    """Of all threads of a process and of all that run below it, by their IDs, since they began."""
    stats = (stat for member in family(pid) for stat in Path(f"/proc/{member}/task").glob("*/stat"))
    return {int(stat.parent.name): spent_by(stat) for stat in stats}


def rows(title: str, pid: int, before: Mapping[int, Spent], after: Mapping[int, Spent], count: int) -> Iterator[Row]:
    """What each thread took for one of `count` events, the most expensive one first. Threads of one name count together."""
    names, totals = _names(pid), dict[str, Spent]()
    for thread, spent in after.items():
        began, name = before.get(thread, Spent(0, 0)), names.get(thread, SERVER)
        total = totals.get(name, Spent(0, 0))
        totals[name] = Spent(total.user + spent.user - began.user, total.system + spent.system - began.system)
    for name, total in sorted(totals.items(), key=lambda item: -sum(item[1])):
        user, system = (seconds * 1e6 / count for seconds in total)
        if user + system >= LEAST_US:
            yield Row(f"{title}: {name}, user mode / kernel", f"{number(user)} / {number(system, 'µs')}")


def _names(pid: int) -> dict[int, str]:
    """The names that Python gave to its threads, by the system's IDs. Raises RuntimeError where py-spy may not look."""
    spy, names = Path(sys.executable).with_name("py-spy"), dict[int, str]()
    for member in family(pid):
        command = [str(spy), "dump", "--json", "--pid", str(member)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"py-spy named no threads: {done.stderr.strip()[-300:]}")
        names |= {thread["os_thread_id"]: thread["thread_name"] or SERVER for thread in json.loads(done.stdout)}
    return names
