"""What a ledger with a million purchases costs: intake and forwarding, beside the same on an empty one."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from bench import year
from bench.forwarding import forward
from bench.load import Order, Tally
from bench.parts import Database, Parts
from bench.table import Row, median, number

PURCHASES = 1_000_000
SHARE = 0.9
BACKLOG = 3000
FREE_GIGABYTES = 5


def measure(
    parts: Parts, *, rounds: int, seconds: float, count: int = PURCHASES, databases: tuple[Database, ...]
) -> Iterator[Row]:
    """Alternating rounds on both ledgers, one database after the other. Raises RuntimeError where the disk has no room."""
    free = shutil.disk_usage(parts.folder).free / 1e9
    if free < FREE_GIGABYTES * count / PURCHASES:
        raise RuntimeError(f"{count:,} purchases take up to {FREE_GIGABYTES} GB, and {free:.1f} are free")
    for database in databases:
        large = parts.database(database)
        print(f"filling a ledger on {database} with {count:,} purchases ...", file=sys.stderr, flush=True)
        year.fill(large, count)
        yield from _intake(parts, database, large, f"{count:,}", rounds, seconds)
        yield from _forwarding(parts, database, large, f"{count:,}", rounds)
        if database == "SQLite":
            Path(make_url(large).database or "").unlink()


def _intake(parts: Parts, database: Database, large: str, count: str, rounds: int, seconds: float) -> Iterator[Row]:
    webs = {large: parts.web(large), "": parts.web(parts.database(database))}
    tallies: dict[str, list[Tally]] = {name: [] for name in webs}
    for _, port in webs.values():
        parts.load(Order(port, 1.0))
    for _ in range(rounds):
        for name, (_, port) in webs.items():
            tallies[name].append(parts.load(Order(port, seconds)))
    for web, _ in webs.values():
        web.stop()
    rate, empty = (median([t.rate for t in tallies[name]]) for name in (large, ""))
    name = f"intake, {database}, {count} purchases in the ledger (floor: none): webhooks a second"
    yield Row(name, number(rate), number(empty), rate / empty, f"{SHARE:.0%}", rate / empty >= SHARE)
    p99, empty_p99 = (median([t.p99_ms for t in tallies[name]]) for name in (large, ""))
    name = f"intake, {database}, {count} purchases in the ledger (floor: none): p99"
    yield Row(name, number(p99, "ms"), number(empty_p99, "ms"), p99 / empty_p99)


def _forwarding(parts: Parts, database: Database, large: str, count: str, rounds: int) -> Iterator[Row]:
    sink = parts.sink()
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(forward(parts, database, sink, BACKLOG, url=large).rate)
        theirs.append(forward(parts, database, sink, BACKLOG).rate)
    sink.part.stop()
    rate, empty = median(ours), median(theirs)
    name = f"forwarding, {database}, {count} purchases in the ledger (floor: none): delivered a second"
    yield Row(name, number(rate), number(empty), rate / empty, f"{SHARE:.0%}", rate / empty >= SHARE)
