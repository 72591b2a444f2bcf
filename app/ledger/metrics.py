"""The metrics of all processes, added up. A thread in each process adds its counts to the ledger every few seconds."""

import json
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.transaction import Tx
from app.telemetry.measures import INFINITY, METRICS, SUM, Key, Measures, Metric

FLUSH_SECONDS = 5.0
FRESH_MS = 60_000
"""A process that reported nothing for so long does not count in what is true just now."""
POOL = "database_pool"
ADD = (
    "INSERT INTO metric_values (name, series, part, process, value, at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (name, series, part, process) DO UPDATE SET {}, at = excluded.at"
)
_ADD, _SET = ADD.format("value = metric_values.value + excluded.value"), ADD.format("value = excluded.value")

log = structlog.get_logger(__name__)


class MeasureKeeper:
    """Adds `measures` to the ledger. A killed process loses its counts since the last flush.

    role: web or worker.
    """

    def __init__(self, ledger: Ledger, measures: Measures, role: str) -> None:
        self.measures = measures
        self._ledger = ledger
        self._role = role
        self._process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="measures", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Adds the counts to the ledger. Raises LedgerUnavailable, and keeps the counts for the next flush."""
        taken = self.measures.take()
        if not taken:
            return
        in_use, idle = self._ledger.pool_state()
        try:
            self._ledger.transact(lambda tx: self._write(tx, taken, {"in_use": in_use, "idle": idle}))
        except BaseException:
            self.measures.put_back(taken)
            raise

    def _write(self, tx: Tx, taken: Mapping[Key, int], pool: Mapping[str, int]) -> None:
        now = tx.now()
        tx.run_many(_ADD, [(*key, "", value, now) for key, value in sorted(taken.items())])
        series = json.dumps([self._role])
        tx.run_many(_SET, [(POOL, series, part, self._process, value, now) for part, value in sorted(pool.items())])
        tx.run("DELETE FROM metric_values WHERE process <> '' AND at < ?", now - 10 * FRESH_MS)

    def stop(self) -> None:
        """Ends the thread after a last flush. Idempotent."""
        self._stopping.set()
        self.measures.something.set()
        if self._thread is not None:
            self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            self.measures.something.wait()
            self._stopping.wait(FLUSH_SECONDS)
            try:
                self.flush()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
            except Exception as error:  # a bug must not end the thread
                log.error("measures.unkept", exc_info=error)
            if self._stopping.is_set():
                return


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one metric under one set of labels. buckets: (upper bound, how many up to it); seconds: their sum."""

    labels: tuple[str, ...]
    value: int = 0
    buckets: tuple[tuple[str, int], ...] = ()
    seconds: float = 0.0


def read_series(tx: Tx) -> dict[Metric, list[Series]]:
    """The counts of all processes since the ledger was created."""
    rows = tx.run("SELECT name, series, part, value FROM metric_values WHERE process = '' ORDER BY name, series").all()
    by_series: dict[tuple[str, str], dict[str, int]] = {}
    for name, series, part, value in rows:
        by_series.setdefault((name, series), {})[part] = int(value)
    return {
        metric: [
            _series(metric, tuple(json.loads(series)), parts)
            for (name, series), parts in by_series.items()
            if name == metric.name
        ]
        for metric in METRICS
    }


def _series(metric: Metric, labels: tuple[str, ...], parts: Mapping[str, int]) -> Series:
    if not metric.buckets:
        return Series(labels, parts.get("", 0))
    buckets, total = [], 0
    for bound in (*(str(float(edge)) for edge in metric.buckets), INFINITY):
        total += parts.get(bound, 0)
        buckets.append((bound, total))
    return Series(labels, buckets=tuple(buckets), seconds=parts.get(SUM, 0) / 1_000_000)


def read_pools(tx: Tx, now: int) -> Sequence[tuple[str, str, int]]:
    """Database connections of all processes seen within the last minute: (role, in_use or idle, count)."""
    rows = tx.run(
        "SELECT series, part, SUM(value) FROM metric_values WHERE name = ? AND process <> '' AND at >= ?"
        " GROUP BY series, part ORDER BY series, part",
        POOL,
        now - FRESH_MS,
    ).all()
    return [(json.loads(series)[0], part, int(value)) for series, part, value in rows]
