"""`bridge prune` of old events while webhooks come: their answers, how long it takes, and the space that it returns."""

import sys
import time
from collections.abc import Iterator

from app.config.bridge_toml import RetentionTable
from app.ledger.upkeep.compaction import LOCK
from bench import year
from bench.disk import ask_postgres, ledger_bytes
from bench.load import Order, Tally
from bench.parts import Database, Part, Parts, Sink, to_sink
from bench.table import Row, number

A_SECOND = 50.0
ROUND_SECONDS = 10.0
P99_AIM_MS = 200.0
SHARE_LEFT = 0.5
COMPACTING = (
    f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32) + objid::bigint = {LOCK}"
)
DAY = "1"
RULES = ("deliveries_days", "events_days", "attempts_days", "bodies_days", "answers_days")
TOML = "[retention]\n" + "".join(f"{rule} = {DAY}\n" for rule in RULES)


def measure(parts: Parts, *, count: int, databases: tuple[Database, ...] = ("SQLite", "PostgreSQL")) -> Iterator[Row]:
    """One database after the other. Raises RuntimeError where a webhook was not answered 200, or the command failed."""
    for database in databases:
        yield from _on(parts, database, count)


def _on(parts: Parts, database: Database, count: int) -> Iterator[Row]:
    url, sink = parts.database(database), parts.sink()
    print(f"filling a ledger on {database} with {count:,} purchases ...", file=sys.stderr, flush=True)
    year.fill(url, count, whole_bodies=True)
    config = parts.folder / "bridge.toml"
    config.write_text(TOML)
    web, port = parts.web(url, **to_sink(sink))
    keeping = parts.folder / "keeping.toml"  # so that the command prunes and returns space, and not the worker
    keeping.write_text("[retention]\n" + "".join(f'{rule} = "forever"\n' for rule in RetentionTable.model_fields))
    worker = parts.worker(url, sink, BRIDGE_CONFIG=str(keeping))
    events, size = _events(url), ledger_bytes(url)
    parts.load(Order(port, ROUND_SECONDS, rate=A_SECOND))
    alone = parts.load(Order(port, ROUND_SECONDS, rate=A_SECOND))
    began = time.monotonic()
    variables = {"DATABASE_URL": url, "BRIDGE_CONFIG": str(config), **to_sink(sink)}
    pruning = parts.start(["-m", "app", "prune"], output=None, **variables)
    tallies, compacting = list[Tally](), list[Tally]()
    pruned = 0
    for tally in _until_over(parts, pruning, port):
        tallies.append(tally)
        if database == "PostgreSQL" and (compacting or ask_postgres(url, COMPACTING)):
            pruned = pruned or ledger_bytes(url)
            compacting.append(tally)
    seconds = time.monotonic() - began
    if pruning.process.returncode:
        raise RuntimeError(f"bridge prune failed:\n{parts.log_end()}")
    posted = sum(tally.answered for tally in (*tallies, alone)) + int(ROUND_SECONDS * A_SECOND)
    _wait(sink, posted)
    left = ledger_bytes(url)
    name = f"prune, {database}, {A_SECOND:g} webhooks a second"
    yield Row(f"{name}: events removed, of {events:,}", number(events + posted - _events(url)))
    yield Row(f"{name}: it took, to the last load round", number(seconds, "s"))
    yield Row(f"{name}: webhooks answered meanwhile, all 200", number(sum(tally.answered for tally in tallies)))
    worst = max(tally.p99_ms for tally in tallies)
    shown = " ".join(f"{tally.p99_ms:.0f}" for tally in tallies)
    label = f"{name}: answer p99, worst of rounds of {ROUND_SECONDS:g} s (floor: before; {shown})"
    yield Row(label, number(worst, "ms"), number(alone.p99_ms, "ms"), None, f"{P99_AIM_MS:g} ms", worst <= P99_AIM_MS)
    if compacting:
        shown = " ".join(f"{tally.p99_ms:.0f}" for tally in compacting)
        yield Row(f"{name}: of these, answer p99 while space was returned", shown + " ms")
        yield Row(f"{name}: MB when that began", number(pruned / 1e6))
    label = f"{name}: MB on the disk after (floor: before)"
    yield Row(
        label, number(left / 1e6), number(size / 1e6), left / size, f"{SHARE_LEFT:.0%}", left <= size * SHARE_LEFT
    )
    for part in (worker, web, sink.part):
        part.stop()


def _until_over(parts: Parts, pruning: Part, port: int) -> Iterator[Tally]:
    """Rounds of load for as long as the command runs, at least one."""
    while True:
        yield parts.load(Order(port, ROUND_SECONDS, rate=A_SECOND))
        if pruning.process.poll() is not None:
            return


def _wait(sink: Sink, posted: int) -> None:
    counts = sink.wait_for(posted, 60)
    if counts["distinct"] != posted or counts["count"] != posted:
        raise RuntimeError(f"{posted} webhooks were answered, and {counts} delivered")


def _events(url: str) -> int:
    from app.ledger.engine import Ledger

    ledger = Ledger(url)
    with ledger.read() as tx:
        found = tx.run("SELECT COUNT(*) FROM events").scalar_one()
    ledger.close()
    return int(found)
