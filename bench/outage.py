"""The drain of a backlog after an outage of the destination, while webhooks keep coming: its rate, and how late they are."""

import statistics
from collections.abc import Iterator

from bench.backlog import fill
from bench.forwarding import forward
from bench.load import Order
from bench.parts import Database, Parts, finish_load, to_sink
from bench.purchases import LENGTH
from bench.table import Row, number

NEW_A_SECOND = 100.0
SHARE = 0.9
P99_AIM_MS = 1000.0
SPARE_SECONDS = 5.0
DRAIN_SECONDS = 120.0


def measure(parts: Parts, *, backlog: int, databases: tuple[Database, ...]) -> Iterator[Row]:
    """An instant destination. The floor is the same backlog while nothing new comes."""
    for database in databases:
        yield from _on(parts, database, backlog)


def _on(parts: Parts, database: Database, backlog: int) -> Iterator[Row]:
    sink = parts.sink()
    alone = forward(parts, database, sink, backlog).rate
    url = parts.database(database)
    fill(url, backlog)
    sink.forget()
    web, port = parts.web(url, **to_sink(sink))
    order = Order(port, backlog / alone + SPARE_SECONDS, rate=NEW_A_SECOND, keep=True)
    load = parts.start_load(order)
    worker = parts.worker(url, sink)
    tally = finish_load(load, order)
    counts = sink.wait_for(backlog + tally.answered, DRAIN_SECONDS)
    arrivals = {key[-LENGTH:]: delivered_at for key, delivered_at in sink.ask("/arrivals").items()}
    for part in (web, worker, sink.part):
        part.stop()
    if not counts["distinct"] == counts["count"] == backlog + tally.answered:
        raise RuntimeError(f"of {backlog} and {tally.answered} deliveries came {counts}\n{parts.log_end()}")
    old = [delivered_at for identity, delivered_at in arrivals.items() if identity not in tally.answered_at]
    drained = max(old)
    rate = sum(delivered_at <= drained for delivered_at in arrivals.values()) / (drained - min(arrivals.values()))
    name = f"{database}, {backlog:,} deliveries after an outage, {NEW_A_SECOND:.0f} webhooks a second"
    yield Row(
        f"{name} (floor: none): delivered a second",
        number(rate),
        number(alone),
        rate / alone,
        f"{SHARE:.0%}",
        rate >= SHARE * alone,
    )
    # At the end of the drain nothing is left to overtake.
    waits = [
        max(0.0, arrivals[i] - answered_at) * 1000
        for i, answered_at in tally.answered_at.items()
        if min(arrivals.values()) < answered_at < drained
    ]
    if len(waits) > 1:
        cuts = statistics.quantiles(waits, n=100)
        yield Row(f"{name}: from answer to delivery during the drain, p50", number(cuts[49], "ms"))
        p99 = cuts[98]
        yield Row(
            f"{name}: from answer to delivery during the drain, p99",
            number(p99, "ms"),
            aim=f"{P99_AIM_MS:,.0f} ms",
            met=p99 <= P99_AIM_MS,
        )
