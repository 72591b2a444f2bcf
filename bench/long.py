"""A long run: web, worker, Valkey and ledger take and deliver purchases at a steady rate, and are sampled ten times meanwhile.

Memory, descriptors and latency must not grow with what was done. What the run leaves tells how much disk, processor time and
Redis each event takes.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from redis import Redis

from bench.disk import ask_postgres, ledger_bytes
from bench.load import Order
from bench.memory import descriptors, resident_mb
from bench.parts import Database, Part, Parts, Sink, to_sink
from bench.processor import processor_seconds
from bench.table import Row, median, number
from bench.whole import Flow, run

SAMPLES = 10
A_SECOND = 200.0
COMPARED = 3
"""The median of so many samples at the end stands beside that of as many at the beginning."""
GROWS = 1.25
"""So many times as much it may be: latency on a shared machine differs by that much."""
WARM_UP_SECONDS = 5.0


@dataclass(frozen=True)
class Run:
    """What runs, and on which ledger. pids: of each part, by name."""

    parts: Parts
    url: str
    sink: Sink
    port: int
    pids: dict[str, int]

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def log_bytes(self) -> int:
        """Written to the write-ahead log up to now: of PostgreSQL alone, since SQLite's is used again."""
        return 0 if self.is_sqlite else ask_postgres(self.url, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")

    def connections(self) -> int:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return ask_postgres(self.url, others)

    def redis_bytes(self) -> tuple[int, int]:
        """Memory, and the append-only file."""
        with Redis.from_url(self.parts.redis()) as redis:
            memory = redis.info("memory")["used_memory"]
            file = redis.info("persistence")["aof_current_size"]
        return int(memory), int(file)

    def used(self) -> dict[str, float]:
        return {name: processor_seconds(pid) for name, pid in self.pids.items()}


def measure(
    parts: Parts, *, count: int, rate: float, databases: tuple[Database, ...] = ("SQLite", "PostgreSQL")
) -> Iterator[Row]:
    """One database after the other. Raises RuntimeError unless everything was answered 200 and delivered once."""
    for database in databases:
        yield from _on(parts, database, count, rate)


def _on(parts: Parts, database: Database, count: int, rate: float) -> Iterator[Row]:
    url, sink = parts.database(database), parts.sink()
    web, port = parts.web(url, **to_sink(sink))
    worker = parts.worker(url, sink)
    running = Run(parts, url, sink, port, _pids(parts, database, web, worker))
    run(parts, sink, Order(port, WARM_UP_SECONDS, rate=rate, keep=True))
    before = running.used(), ledger_bytes(running.url), running.log_bytes()
    samples: dict[str, list[float]] = {}
    each = count // SAMPLES
    for turn in range(SAMPLES):
        flow = run(parts, sink, Order(port, each / rate, rate=rate, keep=True))
        found = _sample(running, flow)
        for name, value in found.items():
            samples.setdefault(name, []).append(value)
        shown = ", ".join(f"{name} {number(value)}" for name, value in found.items())
        print(f"{database}, {(turn + 1) * each:,} of {count:,}: {shown}", file=sys.stderr, flush=True)
    name = f"long run, {database}, {count:,} at {rate:g} a second"
    for what, values in samples.items():
        first, last = median(values[:COMPARED]), median(values[-COMPARED:])
        ratio = last / first if first else 1.0
        shown = " ".join(number(value) for value in values)
        yield Row(f"{name}: {what} ({shown})", number(last), number(first), ratio, f"{GROWS:.0%}", ratio <= GROWS)
    yield from _sizes(running, name, count, before)
    for part in (worker, web, sink.part):
        part.stop()


def _pids(parts: Parts, database: Database, web: Part, worker: Part) -> dict[str, int]:
    found = {"web": web.pid, "worker": worker.pid, "Valkey": parts.redis_pid}
    return found | ({"PostgreSQL": parts.postgres_pid()} if database == "PostgreSQL" else {})


def _sample(running: Run, flow: Flow) -> dict[str, float]:
    """Once what was posted is delivered."""
    p50, p99 = flow.lateness_ms()
    found = {f"{name}'s memory, MB": resident_mb(pid, without_cache=True) for name, pid in running.pids.items()}
    found |= {f"{name}'s descriptors": float(descriptors(running.pids[name])) for name in ("web", "worker")}
    found |= {"answer p50, ms": flow.tally.p50_ms, "answer p99, ms": flow.tally.p99_ms}
    return found | {"answer to delivery p50, ms": p50, "answer to delivery p99, ms": p99}


def _sizes(running: Run, name: str, count: int, before: tuple[dict[str, float], int, int]) -> Iterator[Row]:
    """What an event takes."""
    used, ledger, log = before
    yield Row(f"{name}: ledger, bytes an event", number((ledger_bytes(running.url) - ledger) / count))
    if not running.is_sqlite:
        yield Row(f"{name}: write-ahead log, bytes an event", number((running.log_bytes() - log) / count))
        yield Row(f"{name}: connections of one web and one worker", number(running.connections()))
    memory, file = running.redis_bytes()
    yield Row(f"{name}: Redis at the end", f"{number(memory / 1e6)} MB, file {number(file / 1e6)} MB")
    for part, seconds in running.used().items():
        yield Row(f"{name}: {part}'s processor time", number((seconds - used[part]) * 1e6 / count, "µs an event"))
