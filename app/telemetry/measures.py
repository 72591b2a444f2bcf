"""The counts of a process for /metrics: plain numbers in memory, which the ledger adds up over all processes."""

import json
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

Key = tuple[str, str, str]
"""Metric, label values (a JSON array), and part: "" for a counter; for a histogram "sum" (µs) or the bucket's upper bound."""
SUM, INFINITY = "sum", "+Inf"


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter, or a histogram in seconds where it has buckets. name: without _total."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


WEBHOOKS = Metric("bridge_webhooks", "Webhook requests by source and result.", ("source", "result"))
REFUSED = Metric("bridge_refused_requests", "Refused webhook requests by source and reason.", ("source", "reason"))
WEBHOOK_SECONDS = Metric(
    "bridge_webhook_seconds",
    "Time from a webhook's arrival to its 200, by source.",
    ("source",),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
ATTEMPTS = Metric(
    "bridge_attempts", "Attempts by destination and status class; none: no answer came.", ("destination", "status")
)
DELIVERY_SECONDS = Metric(
    "bridge_delivery_seconds",
    "Time from recording to delivery, by destination.",
    ("destination",),
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400),
)
METRICS = (WEBHOOKS, REFUSED, WEBHOOK_SECONDS, ATTEMPTS, DELIVERY_SECONDS)


class Measures:
    """Counts since they were last taken. Safe to share between threads; `count` and `observe` return at once."""

    def __init__(self) -> None:
        self._counts: Counter[Key] = Counter()
        self._lock = threading.Lock()
        self.something = threading.Event()
        """Set while there is something to take."""

    def count(self, metric: Metric, *labels: str) -> None:
        key = _key(metric.name, labels, "")
        with self._lock:
            self._counts[key] += 1
        if not self.something.is_set():
            self.something.set()

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        index = bisect_left(metric.buckets, seconds)
        bound = _key(
            metric.name, labels, str(float(metric.buckets[index])) if index < len(metric.buckets) else INFINITY
        )
        total = _key(metric.name, labels, SUM)
        with self._lock:
            self._counts[bound] += 1
            self._counts[total] += max(int(seconds * 1_000_000), 0)
        if not self.something.is_set():
            self.something.set()

    def take(self) -> Mapping[Key, int]:
        """Returns all counts and resets them."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
            self.something.clear()
        return taken

    def put_back(self, taken: Mapping[Key, int]) -> None:
        """Adds counts that could not be stored back, for the next `take`."""
        with self._lock:
            self._counts.update(taken)
        self.something.set()


@lru_cache(maxsize=2048)
def _key(name: str, labels: tuple[str, ...], part: str) -> Key:
    return name, json.dumps(labels), part


def status_class(status: int | None) -> str:
    """An HTTP status as metrics name it: 2xx, 4xx, …; none without an answer."""
    return "none" if status is None else f"{status // 100}xx"
