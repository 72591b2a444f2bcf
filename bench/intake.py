"""Intake: acknowledged webhooks a second and their latency, beside the smallest app that does the same to one row."""

from collections.abc import Iterator

from bench.load import Order, Tally
from bench.parts import Database, Parts
from bench.processor import processor_seconds
from bench.table import Row, median, number

SHARE = 0.6
SLOWER = 3.0


def measure(parts: Parts, *, rounds: int, seconds: float, databases: tuple[Database, ...]) -> Iterator[Row]:
    """Alternating rounds of bridge and floor on each database, no worker running."""
    yield _empty_answers(parts, seconds)
    for database in databases:
        yield from _on(parts, database, rounds, seconds)


def _empty_answers(parts: Parts, seconds: float) -> Row:
    """What the load generator itself can do, so that it is seen not to be what is measured."""
    sink = parts.sink()
    tally = parts.load(Order(sink.port, seconds))
    sink.part.stop()
    return Row("load generator, to an empty answer (a second)", number(tally.rate))


def _on(parts: Parts, database: Database, rounds: int, seconds: float) -> Iterator[Row]:
    web, web_port = parts.web(parts.database(database))
    floor, floor_port = parts.floor(parts.database(database, empty=True))
    ours: list[Tally] = []
    theirs: list[Tally] = []
    used: list[float] = []
    for port in (web_port, floor_port):
        parts.load(Order(port, 1.0))
    for _ in range(rounds):
        before = processor_seconds(web.pid)
        ours.append(parts.load(Order(web_port, seconds)))
        used.append((processor_seconds(web.pid) - before) * 1e6 / ours[-1].answered)
        theirs.append(parts.load(Order(floor_port, seconds)))
    web.stop()
    floor.stop()
    yield from compare(f"intake, {database}", ours, theirs)
    yield Row(f"intake, {database}: web's processor time per webhook", number(median(used), "µs"))


def compare(name: str, ours: list[Tally], theirs: list[Tally]) -> Iterator[Row]:
    """Rows of rate, p50 and p99: medians over the rounds."""
    rate, floor_rate = median([t.rate for t in ours]), median([t.rate for t in theirs])
    share = rate / floor_rate
    yield Row(f"{name}: webhooks a second", number(rate), number(floor_rate), share, f"{SHARE:.0%}", share >= SHARE)
    p50, floor_p50 = median([t.p50_ms for t in ours]), median([t.p50_ms for t in theirs])
    yield Row(f"{name}: p50", number(p50, "ms"), number(floor_p50, "ms"), p50 / floor_p50)
    p99, floor_p99 = median([t.p99_ms for t in ours]), median([t.p99_ms for t in theirs])
    slower = p99 / floor_p99
    yield Row(f"{name}: p99", number(p99, "ms"), number(floor_p99, "ms"), slower, f"{SLOWER:g} x", slower <= SLOWER)
