"""Delivered a second with one, two and four worker processes on one ledger."""

from collections.abc import Iterator

from bench.forwarding import CONCURRENCY, SLOW_SECONDS, forward
from bench.parts import Database, Parts
from bench.table import Row, median, number

WORKERS = (1, 2, 4)
DATABASES: tuple[Database, ...] = ("SQLite", "PostgreSQL")


def measure(parts: Parts, *, rounds: int, backlog: int) -> Iterator[Row]:
    """To a destination that takes 100 ms, beside what that many connections can do; and to an instant one, where the cores
    are what is shared, beside one worker."""
    slow, instant = parts.sink(SLOW_SECONDS), parts.sink()
    for database in DATABASES:
        for workers in WORKERS:
            floor = workers * CONCURRENCY / SLOW_SECONDS
            count = int(floor * 3)
            rate = median([forward(parts, database, slow, count, workers).rate for _ in range(rounds)])
            name = f"forwarding, {database}, 100 ms destination, {_many(workers)}: delivered a second"
            yield Row(name, number(rate), number(floor), rate / floor)
        alone = 0.0
        for workers in WORKERS:
            rate = median([forward(parts, database, instant, backlog, workers).rate for _ in range(rounds)])
            alone = alone or rate
            name = f"forwarding, {database}, instant destination, {_many(workers)} (floor: 1): delivered a second"
            yield Row(name, number(rate), number(alone), rate / alone)
    slow.part.stop()
    instant.part.stop()


def _many(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
