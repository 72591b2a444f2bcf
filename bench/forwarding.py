"""Forwarding of a backlog: delivered a second, beside a bare loop with as many requests in flight to the same destination."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.backlog import delivered, fill
from bench.parts import ROOT, Database, Parts, Sink
from bench.processor import processor_seconds
from bench.table import Row, median, number

CONCURRENCY = 32
INSTANT_AIMS: dict[Database, int] = {"SQLite": 6000, "PostgreSQL": 5000}
SLOW_SECONDS = 0.1
SLOW_SHARE = 0.9
WIDE = 512
WIDE_AIM = 4500
WORKER_AIM_US = 120
START_SECONDS = 30.0


@dataclass(frozen=True)
class Forwarded:
    """rate: delivered a second, from the first request that reached the destination to its last answer; the others are processor
    time per delivery in microseconds, of all workers and of PostgreSQL."""

    rate: float
    worker_us: float
    database_us: float


def measure(parts: Parts, *, rounds: int, backlog: int, databases: tuple[Database, ...]) -> Iterator[Row]:
    """One worker process, to an instant destination and to one that takes 100 ms."""
    instant, slow = parts.sink(), parts.sink(SLOW_SECONDS)
    for database in databases:
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(forward(parts, database, instant, backlog))
            theirs.append(send_bare(instant, backlog))
        rate, floor, aim = median([run.rate for run in ours]), median(theirs), INSTANT_AIMS[database]
        name = f"forwarding, {database}, instant destination"
        yield Row(f"{name}: delivered a second", number(rate), number(floor), rate / floor, f"{aim:,}", rate >= aim)
        time_us = median([run.worker_us for run in ours])
        aim_text = f"{WORKER_AIM_US} µs"
        yield Row(
            f"{name}: worker's processor time", number(time_us, "µs"), "", None, aim_text, time_us <= WORKER_AIM_US
        )
        if database == "PostgreSQL":
            yield Row(f"{name}: PostgreSQL's processor time", number(median([run.database_us for run in ours]), "µs"))
    for database in databases:
        yield _slow(parts, database, slow, CONCURRENCY, rounds=max(1, rounds - 2))
        yield _slow(parts, database, slow, WIDE, rounds=max(1, rounds - 2))
    rate = send_bare(slow, CONCURRENCY * 30)
    yield Row("  the bare loop to the 100 ms destination", "", number(rate))
    instant.part.stop()
    slow.part.stop()


def _slow(parts: Parts, database: Database, sink: Sink, concurrency: int, *, rounds: int) -> Row:
    """Beside what so many requests in flight can do at most."""
    count, floor = concurrency * 30, concurrency / SLOW_SECONDS
    ours = [forward(parts, database, sink, count, DESTINATION_CONCURRENCY=str(concurrency)) for _ in range(rounds)]
    rate = median([run.rate for run in ours])
    aim = SLOW_SHARE * floor if concurrency == CONCURRENCY else WIDE_AIM
    name = f"forwarding, {database}, 100 ms destination, {concurrency} in flight: delivered a second"
    return Row(name, number(rate), number(floor), rate / floor, f"{aim:,.0f}", rate >= aim)


def forward(
    parts: Parts,
    database: Database,
    sink: Sink,
    backlog: int,
    workers: int = 1,
    *,
    url: str | None = None,
    **variables: str,
) -> Forwarded:
    """Delivers a backlog. Raises unless all came, once.

    url: a ledger that is there already, instead of a fresh one; variables: settings of the workers.
    """
    url = url or parts.database(database)
    before = delivered(url)
    fill(url, backlog)
    sink.forget()
    started = [parts.worker(url, sink, **variables) for _ in range(workers)]
    pids = [worker.pid for worker in started]
    server = parts.postgres_pid() if database == "PostgreSQL" else None

    def used() -> tuple[int, float, float]:
        count = int(sink.ask()["count"])
        return count, sum(map(processor_seconds, pids)), processor_seconds(server) if server else 0.0

    deadline = time.monotonic() + START_SECONDS
    while not (begun := used())[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    counts = sink.wait_for(backlog, 60)
    ended = used()
    for worker in started:
        worker.stop()
    if counts["distinct"] != backlog or counts["count"] != backlog or delivered(url) - before != backlog:
        raise RuntimeError(f"of {backlog} deliveries came {counts}\n{parts.log_end()}")
    many = max(ended[0] - begun[0], 1)
    worker_us, database_us = ((b - a) * 1e6 / many for a, b in zip(begun[1:], ended[1:], strict=True))
    return Forwarded(rate_of(counts), worker_us, database_us)


def send_bare(sink: Sink, count: int) -> float:
    """The same number sent by the bare loop."""
    sink.forget()
    arguments = [str(sink.port), str(count), str(CONCURRENCY)]
    subprocess.run([sys.executable, "-m", "bench.bare", *arguments], cwd=ROOT, check=True, timeout=90)
    return rate_of(sink.ask())


def rate_of(counts: dict[str, float]) -> float:
    return counts["count"] / (counts["last_at"] - counts["first_at"])
