"""Counts refused requests in this process, keeps details of the last ones, and quarantines those that a corrected secret may
make valid. A thread writes all of it to the ledger, so that no request waits."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from app.errors import LedgerUnavailable
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.ledger.inbound.bounds import Bounds, enforce
from app.ledger.inbound.details import Detail, keep_details
from app.ledger.inbound.quarantine import Refused, keep
from app.ledger.transaction import Tx

FLUSH_SECONDS = 5.0
MINUTE_SECONDS = 60.0
MOST_OF_CLIENT = 20
"""Requests of one source and client network that are kept between two flushes: a random sample of all that came."""
MOST_CLIENTS = 2000
"""Source and client networks that are sampled between two flushes."""
MOST_A_MINUTE, MOST_BYTES = 300, 8 * 1024 * 1024
"""What this process puts into the quarantine within a minute, whatever strangers post. What is beyond is only counted."""
CHUNK_ROWS, CHUNK_BYTES = 20, 256 * 1024
"""Of one transaction."""
REST_SECONDS = 0.02
NOTHING = Bounds(0, 0, None)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Sample:
    """A sample of the `seen` requests of one source and client network since the last flush."""

    seen: int
    kept: list[Refused]


class RefusalCounter:
    """`count` returns at once. A killed process loses its counts since the last flush."""

    def __init__(self, ledger: Ledger, bounds: Bounds = NOTHING) -> None:
        self._ledger = ledger
        self._bounds = bounds
        self._counted: Counter[tuple[str, str]] = Counter()
        self._times: dict[tuple[str, str], tuple[float, float]] = {}
        """When the first and the last of those came (monotonic)."""
        self._details: dict[tuple[str, str], Detail] = {}
        self._samples: dict[tuple[str, str], _Sample] = {}
        self._minute, self._rows, self._bytes = 0.0, 0, 0
        """When the minute began (monotonic) in which so much was kept."""
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def count(self, source: str, reason: str, detail: Detail | None = None) -> None:
        now = time.monotonic()
        with self._lock:
            self._counted[source, reason] += 1
            first, _ = self._times.get((source, reason), (now, now))
            self._times[source, reason] = (first, now)
            if detail is not None:
                self._details[source, reason] = detail
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
                self._thread.start()
        self._something.set()

    def hold(self, source: str, client: str, make: Callable[[], Refused | None]) -> None:
        """Quarantines the result of `make` at the next flush. make: called only if there is room for one more request."""
        if not self._bounds.is_on:
            return
        with self._lock:
            if (source, client) not in self._samples and len(self._samples) >= MOST_CLIENTS:
                return
            sample = self._samples.setdefault((source, client), _Sample(0, []))
            sample.seen += 1
            place = None if sample.seen <= MOST_OF_CLIENT else random.randrange(sample.seen)  # noqa: S311
            if (place is not None and place >= MOST_OF_CLIENT) or not self._has_room():
                return
        refused = make()
        if refused is None:
            return
        with self._lock:
            if self._bytes + refused.size > MOST_BYTES:
                return
            self._rows, self._bytes = self._rows + 1, self._bytes + refused.size
            kept = self._samples.setdefault(
                (source, client), _Sample(0, [])
            ).kept  # other requests arrived meanwhile, or a flush ran
            if len(kept) < MOST_OF_CLIENT:
                kept.append(refused)
            else:
                kept[place or 0] = refused

    def _has_room(self) -> bool:
        now, is_empty = time.monotonic(), not any(sample.kept for sample in self._samples.values())
        if is_empty and now - self._minute > MINUTE_SECONDS:
            self._minute, self._rows, self._bytes = now, 0, 0
        return self._rows < MOST_A_MINUTE and self._bytes < MOST_BYTES

    def flush(self) -> None:
        """Writes everything to the ledger. Raises LedgerUnavailable, and keeps the counts for the next flush."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
            times, self._times = self._times, {}
            details, self._details = self._details, {}
        if not counted:
            return

        def work(tx: Tx) -> None:
            now, ages = tx.now(), _ages(times)
            add_refusals(tx, counted, now, ages)
            keep_details(tx, [(*key, now - ages[key][1], detail) for key, detail in details.items()])

        try:
            self._ledger.transact(work)
        except BaseException:
            with self._lock:
                self._counted.update(counted)
                for key, (first, last) in times.items():
                    self._times[key] = (first, self._times.get(key, (last, last))[1])
                self._details = details | self._details
            raise
        self._keep_held()

    def _keep_held(self) -> None:
        """Writes the quarantined requests in small transactions, because intake waits for the same lock."""
        with self._lock:
            samples, self._samples = self._samples, {}
        held = sorted(
            (request for sample in samples.values() for request in sample.kept), key=lambda request: request.received_at
        )
        for chunk in _chunks(held):
            self._ledger.transact(partial(keep, requests=chunk))
            self._stopping.wait(REST_SECONDS)
        if held:
            self._ledger.transact(lambda tx: enforce(tx, self._bounds, tx.now()))

    def stop(self) -> None:
        """Ends the thread after a last flush. Idempotent."""
        self._stopping.set()
        self._something.set()
        if self._thread is not None:
            self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._stopping.wait(FLUSH_SECONDS)  # a storm of them costs one write each time
            self._something.clear()
            try:
                self.flush()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
                self._something.set()
            except Exception as error:  # a bug must not end the thread
                log.error("refusals.uncounted", exc_info=error)
            if self._stopping.is_set():
                return


def _ages(times: Mapping[tuple[str, str], tuple[float, float]]) -> dict[tuple[str, str], tuple[int, int]]:
    now = time.monotonic()
    return {key: (int((now - first) * 1000), int((now - last) * 1000)) for key, (first, last) in times.items()}


def _chunks(held: Sequence[Refused]) -> Iterator[list[Refused]]:
    chunk: list[Refused] = []
    size = 0
    for request in held:
        if chunk and (len(chunk) >= CHUNK_ROWS or size + request.size > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += request.size
    if chunk:
        yield chunk
