"""The whole stack, `bridge up`, taking and delivering at once: what it sustains, how late conversions are, what memory it takes."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.load import Order, Tally
from bench.memory import Watch, resident_mb
from bench.parts import Parts, Sink
from bench.processor import processor_seconds_by_role
from bench.purchases import LENGTH
from bench.table import Row, number

SUSTAINED_AIM = 2500
PROCESSOR_AIMS_US = {"web": 300, "worker": 120}
P50_AIM_MS, P99_AIM_MS = 50, 300
MEMORY_AIM_MB = 200
DRAIN_SECONDS = 60
REST_SECONDS = 4


@dataclass(frozen=True)
class Flow:
    """Conversions that were taken and delivered. Times are monotonic; `arrivals` by identity."""

    tally: Tally
    arrivals: dict[str, float]

    @property
    def sustained(self) -> float:
        """A second, from the first webhook to the last delivery: what was taken faster than it was sent counts the wait."""
        return len(self.arrivals) / (max(self.arrivals.values()) - self.tally.started_at)

    @property
    def delivered_meanwhile(self) -> float:
        """Delivered a second while webhooks came."""
        end = self.tally.started_at + self.tally.seconds
        return sum(1 for arrived_at in self.arrivals.values() if arrived_at <= end) / self.tally.seconds

    def lateness_ms(self) -> tuple[float, float]:
        """p50 and p99 from the answer to the webhook until the destination had the conversion."""
        answered = self.tally.answered_at
        waits = [max(0.0, arrived_at - answered[identity]) * 1000 for identity, arrived_at in self.arrivals.items()]
        cuts = statistics.quantiles(waits, n=100)
        return cuts[49], cuts[98]


def measure(parts: Parts, *, seconds: float) -> Iterator[Row]:
    """Full load, then half of what was sustained."""
    sink = parts.sink()
    stack, port = parts.stack(sink, parts.folder / "stack")
    time.sleep(REST_SECONDS)
    at_rest = resident_mb(stack.pid)
    run(parts, sink, Order(port, 1.0, keep=True))
    before = processor_seconds_by_role(stack.pid)
    with Watch(stack.pid) as watch:
        full = run(parts, sink, Order(port, seconds, keep=True))
    used = processor_seconds_by_role(stack.pid)
    rate = full.sustained
    yield Row("whole stack, full load: webhooks taken a second", number(full.tally.rate))
    yield Row("whole stack, full load: delivered a second meanwhile", number(full.delivered_meanwhile))
    name = "whole stack, full load: conversions a second, all delivered"
    yield Row(name, number(rate), aim=f"{SUSTAINED_AIM:,}", met=rate >= SUSTAINED_AIM)
    for role, aim_us in PROCESSOR_AIMS_US.items():
        time_us = (used[role] - before[role]) * 1e6 / full.tally.answered
        name = f"whole stack, full load: {role}'s processor time per conversion"
        yield Row(name, number(time_us, "µs"), aim=f"{aim_us} µs", met=time_us <= aim_us)
    half = run(parts, sink, Order(port, seconds, rate=rate / 2, keep=True))
    p50, p99 = half.lateness_ms()
    name = f"whole stack, {rate / 2:.0f} a second: from answer to delivery"
    yield Row(f"{name}, p50", number(p50, "ms"), aim=f"{P50_AIM_MS} ms", met=p50 <= P50_AIM_MS)
    yield Row(f"{name}, p99", number(p99, "ms"), aim=f"{P99_AIM_MS} ms", met=p99 <= P99_AIM_MS)
    yield Row(f"whole stack, {rate / 2:.0f} a second: webhook's answer, p99", number(half.tally.p99_ms, "ms"))
    yield Row("memory of the whole stack at rest (PSS)", number(at_rest, "MB"))
    most = max(watch.most_mb, at_rest)
    name = "memory of the whole stack under full load (PSS)"
    yield Row(name, number(most, "MB"), aim=f"{MEMORY_AIM_MB} MB", met=most <= MEMORY_AIM_MB)
    stack.stop()
    sink.part.stop()


def run(parts: Parts, sink: Sink, order: Order) -> Flow:
    """Fires, waits until all is delivered, and checks that it was, once each."""
    sink.forget()
    tally = parts.load(order)
    counts = sink.wait_for(tally.answered, DRAIN_SECONDS)
    if counts["distinct"] != tally.answered or counts["count"] != tally.answered:
        raise RuntimeError(f"{tally.answered} webhooks were answered, and {counts} delivered\n{parts.log_end()}")
    arrivals = {key[-LENGTH:]: arrived_at for key, arrived_at in sink.ask("/arrivals").items()}
    return Flow(tally, arrivals)
