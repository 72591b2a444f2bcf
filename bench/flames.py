"""Where processor time goes in web and worker under full load, on both databases: that of each thread, and a flame graph (SVG).

py-spy looks at the processes from outside. Where the system forbids that, run as root or set kernel.yama.ptrace_scope to 0.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.backlog import fill
from bench.load import Order
from bench.parts import Database, Parts, finish_load
from bench.processor import processor_seconds
from bench.table import Row, number
from bench.threads import by_thread, rows, written

SAMPLES_A_SECOND = 250
BACKLOG_A_SECOND = 12_000
"""More than a worker delivers, so that it is busy for as long as it is looked at."""
UNDISTURBED_SECONDS = 4
"""How long the threads' times are taken for, without py-spy."""
START_SECONDS = 30.0


def measure(parts: Parts, folder: Path, *, seconds: int) -> Iterator[Row]:
    """Writes the graphs to `folder`. The times of threads are taken before py-spy looks: after that, rates are lower and processor
    times higher than else."""
    folder.mkdir(parents=True, exist_ok=True)
    databases: tuple[Database, ...] = ("SQLite", "PostgreSQL")
    for database in databases:
        yield from _web(parts, database, folder / f"web-{database.lower()}.svg", seconds)
        yield from _worker(parts, database, folder / f"worker-{database.lower()}.svg", seconds)


def _web(parts: Parts, database: Database, path: Path, seconds: int) -> Iterator[Row]:
    """A closed loop of webhooks. No worker runs."""
    web, port = parts.web(parts.database(database))
    parts.load(Order(port, 1.0))
    began, wrote = by_thread(web.pid), written(web.pid)
    answered = parts.load(Order(port, UNDISTURBED_SECONDS)).answered
    ended, now = by_thread(web.pid), written(web.pid)
    kilobytes, calls = (now.size - wrote.size) / answered / 1000, (now.calls - wrote.calls) / answered
    yield from rows(f"web, {database}", web.pid, began, ended, answered)
    yield Row(f"web, {database}: written per webhook", f"{number(kilobytes, 'kB')} in {number(calls, 'calls')}")
    order = Order(port, seconds + 2.0)
    before = processor_seconds(web.pid)
    load = parts.start_load(order)
    _wait(lambda: processor_seconds(web.pid) > before + 0.3)  # its requests are made before the first one is sent
    record(web.pid, path, seconds)
    tally = finish_load(load, order)
    used = (processor_seconds(web.pid) - before) * 1e6 / tally.answered
    web.stop()
    yield Row(f"{path}: web's processor time per webhook, with py-spy", number(used, "µs"))


def _worker(parts: Parts, database: Database, path: Path, seconds: int) -> Iterator[Row]:
    """A backlog, to an instant destination."""
    sink, url = parts.sink(), parts.database(database)
    fill(url, BACKLOG_A_SECOND * (seconds + UNDISTURBED_SECONDS))
    worker = parts.worker(url, sink)
    _wait(lambda: sink.ask()["count"] > 0)
    began, sent = by_thread(worker.pid), sink.ask()["count"]
    time.sleep(UNDISTURBED_SECONDS)
    ended, sent = by_thread(worker.pid), sink.ask()["count"] - sent
    yield from rows(f"worker, {database}", worker.pid, began, ended, max(sent, 1))
    before, sent = processor_seconds(worker.pid), sink.ask()["count"]
    record(worker.pid, path, seconds)
    used, sent = processor_seconds(worker.pid) - before, sink.ask()["count"] - sent
    worker.stop()
    sink.part.stop()
    yield Row(f"{path}: worker's processor time per delivery, with py-spy", number(used * 1e6 / max(sent, 1), "µs"))


def record(pid: int, path: Path, seconds: int) -> None:
    """Raises RuntimeError where py-spy is not there or may not look."""
    spy = Path(sys.executable).with_name("py-spy")
    options = ["--subprocesses", "--rate", str(SAMPLES_A_SECOND), "--duration", str(seconds)]
    command = [str(spy), "record", "--pid", str(pid), "--output", str(path), "--nonblocking", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    except FileNotFoundError:
        raise RuntimeError("py-spy is not installed: it is part of the extra `test`") from None
    if done.returncode or not path.exists():
        raise RuntimeError(f"py-spy wrote no flame graph: {done.stderr.strip()[-300:]}")


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing happened within {START_SECONDS:g} s")
        time.sleep(0.02)
