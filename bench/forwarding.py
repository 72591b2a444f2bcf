"""Forwarding of a backlog: delivered a second, beside a bare loop of as many threads to the same destination."""

import subprocess
import sys
from collections.abc import Iterator

from bench.backlog import delivered, fill
from bench.parts import ROOT, Database, Parts, Sink
from bench.table import Row, median, number

CONCURRENCY = 32
INSTANT_AIM = 1200
SLOW_SECONDS = 0.1
SLOW_SHARE = 0.9


def measure(parts: Parts, *, rounds: int, backlog: int, databases: tuple[Database, ...]) -> Iterator[Row]:
    """One worker process, to an instant destination and to one that takes 100 ms."""
    instant, slow = parts.sink(), parts.sink(SLOW_SECONDS)
    for database in databases:
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(forward(parts, database, instant, backlog))
            theirs.append(send_bare(instant, backlog))
        rate, floor = median(ours), median(theirs)
        name = f"forwarding, {database}, instant destination: delivered a second"
        yield Row(name, number(rate), number(floor), rate / floor, f"{INSTANT_AIM:,}", rate >= INSTANT_AIM)
    count, floor = CONCURRENCY * 30, CONCURRENCY / SLOW_SECONDS
    for database in databases:
        ours = [forward(parts, database, slow, count) for _ in range(max(1, rounds - 2))]
        rate = median(ours)
        name = f"forwarding, {database}, 100 ms destination: delivered a second"
        yield Row(
            name, number(rate), number(floor), rate / floor, f"{SLOW_SHARE * floor:.0f}", rate >= SLOW_SHARE * floor
        )
    rate = send_bare(slow, count)
    yield Row("  the bare loop to the 100 ms destination", "", number(rate))
    instant.part.stop()
    slow.part.stop()


def forward(
    parts: Parts, database: Database, sink: Sink, backlog: int, workers: int = 1, *, url: str | None = None
) -> float:
    """Delivered a second, from the first request that reached `sink` to its last answer. Raises unless all came, once.

    url: a ledger that is there already, instead of a fresh one.
    """
    url = url or parts.database(database)
    before = delivered(url)
    fill(url, backlog)
    sink.forget()
    started = [parts.worker(url, sink) for _ in range(workers)]
    counts = sink.wait_for(backlog, 60)
    for worker in started:
        worker.stop()
    if counts["distinct"] != backlog or counts["count"] != backlog or delivered(url) - before != backlog:
        raise RuntimeError(f"of {backlog} deliveries came {counts}\n{parts.log_end()}")
    return rate_of(counts)


def send_bare(sink: Sink, count: int) -> float:
    """The same number sent by the bare loop."""
    sink.forget()
    arguments = [str(sink.port), str(count), str(CONCURRENCY)]
    subprocess.run([sys.executable, "-m", "bench.bare", *arguments], cwd=ROOT, check=True, timeout=90)
    return rate_of(sink.ask())


def rate_of(counts: dict[str, float]) -> float:
    return counts["count"] / (counts["last_at"] - counts["first_at"])
