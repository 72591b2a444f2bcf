"""Fetches Stripe's own list of events and records what is missing, as if the webhooks had come.

Stripe lists the newest first, but people are best learned from the oldest: a first click must be seen before a later one, and
a person's Lead before the Sale. So the time is walked through in windows, the oldest first; each window is fetched to its end,
turned round and recorded. A window that holds too much for memory is fetched again at a quarter of its width, and one that
holds little makes the next twice as wide, so that a quiet month costs a dozen requests and a busy one no more memory.

After each window the ledger keeps how far the run came: an interrupted one goes on there. Recording is idempotent anyway.
https://docs.stripe.com/api/events/list
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from app.errors import LedgerUnavailable, MalformedEvent
from app.ledger.cursors import drop_cursors, keep_cursors, read_cursors
from app.ledger.engine import Ledger
from app.ledger.reading.by_key import known_events
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.model import Inbound
from app.sources.base import Source
from app.stripe_api.client import StripeApi
from app.stripe_api.event_types import wanted_events

FIRST_WINDOW_SECONDS = 3600
MOST_EVENTS = 2000
"""Of one window, held in memory as text: some 10 MB."""
MOST_TYPES = 20
"""In one request, by Stripe's rule."""
GROUP = 100
"""Events recorded in one transaction; the web and the workers get their turn after each."""
REST_SECONDS = 0.005

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Tally:
    """What became of the events that Stripe listed. `duplicate`: received before, or of a purchase already counted."""

    found: int = 0
    sales: int = 0
    leads: int = 0
    duplicate: int = 0
    pending: int = 0
    ignored: int = 0
    parked: int = 0
    failed: list[str] = field(default_factory=list)
    """Ids of events that could not be read or recorded; the log says why."""

    @property
    def new(self) -> int:
        return self.sales + self.leads

    def count(self, outcome: str) -> None:
        name = {"sale": "sales", "lead": "leads"}.get(outcome, outcome)
        setattr(self, name, getattr(self, name) + 1)


@dataclass(frozen=True, slots=True)
class Listed:
    """One event of Stripe's list. `body` is as a webhook would hold it."""

    id: str
    created: int
    body: bytes


class Backfill:
    """One run. `after_commit(receipts)` receives what was recorded, for a nudge; it must not raise.

    since, until: seconds since 1970; until None: to the very end of the list. account: a connected account (Connect).
    """

    def __init__(
        self,
        api: StripeApi,
        ledger: Ledger,
        source: Source,
        policy: Policy,
        *,
        since: int,
        until: int | None = None,
        account: str | None = None,
        after_commit: Callable[[Sequence[Receipt]], object] = lambda _receipts: None,
        most_events: int = MOST_EVENTS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._source = source
        self._policy = policy
        self._since = since
        self._until = until
        self._account = account
        self._after_commit = after_commit
        self._most_events = most_events
        self._now = now
        self._types = wanted_events(policy.rules)
        # Another key, account or choice of events is another run.
        named = "\n".join([api.key, account or "", *self._types])
        run = f"backfill:{source.name}:{hashlib.sha256(named.encode()).hexdigest()[:16]}"
        self._begun_at, self._done_until = f"{run}:since", f"{run}:until"
        self._start = since
        self.tally = Tally()

    def resume(self) -> int | None:
        """Goes on where an interrupted run with an earlier or the same `since` ended; returns that time, or None."""
        kept = read_cursors(self._ledger, [self._begun_at, self._done_until])
        begun, done = kept.get(self._begun_at), kept.get(self._done_until)
        if begun is None or done is None or begun > self._since or done <= self._since:
            return None
        self._since, self._start = begun, done
        return done

    def run(self) -> Iterator[int]:
        """Yields, after each window, the time (seconds) up to which everything is recorded. Raises StripeApiError and
        LedgerUnavailable; what was recorded stays, and the next run goes on from there."""
        start, width, now = self._start, FIRST_WINDOW_SECONDS, int(self._now())
        while True:
            whole = start + width - 1
            is_last = whole >= (now if self._until is None else self._until)
            end = self._until if is_last else whole
            listed = self._fetch(start, end, bounded=width > 1)
            if listed is None:
                width = max(1, width // 4)
                continue
            self._record_all(listed)
            if is_last:
                drop_cursors(self._ledger, [self._begun_at, self._done_until])
                yield now if end is None else end + 1
                return
            start = whole + 1
            keep_cursors(self._ledger, {self._begun_at: self._since, self._done_until: start})
            yield start
            if len(listed) < self._most_events // 4:
                width *= 2

    def _fetch(self, start: int, end: int | None, *, bounded: bool) -> list[Listed] | None:
        """The events of a window, the oldest first; None if they are too many."""
        created = {"gte": start} | ({} if end is None else {"lte": end})
        listed_events: list[Listed] = []
        for first in range(0, len(self._types), MOST_TYPES):
            types = list(self._types[first : first + MOST_TYPES])
            part: list[Listed] = []
            for event in self._api.each("/v1/events", self._account, types=types, created=created):
                part.append(_listed(event, self._account))
                if bounded and len(listed_events) + len(part) > self._most_events:
                    return None
            listed_events += part[::-1]
        listed_events.sort(key=lambda listed: listed.created)  # stable: Stripe's own order stands within a second
        return listed_events

    def _record_all(self, listed: Sequence[Listed]) -> None:
        for first in range(0, len(listed), GROUP):
            self._record_group(listed[first : first + GROUP])
            time.sleep(REST_SECONDS)

    def _record_group(self, group: Sequence[Listed]) -> None:
        self.tally.found += len(group)
        arrivals = [arrival for listed in group if (arrival := self._arrival(listed)) is not None]
        with self._ledger.read() as tx:
            known = known_events(tx, [arrival.event_key for arrival in arrivals])
        self.tally.duplicate += sum(arrival.event_key in known for arrival in arrivals)
        fresh = [arrival for arrival in arrivals if arrival.event_key not in known]
        if not fresh:
            return
        try:
            receipts = self._record(fresh)
        except LedgerUnavailable:
            raise
        except Exception:  # noqa: BLE001 - one bad event must not stop the others: each alone, and the bad one is named
            receipts = [receipt for arrival in fresh if (receipt := self._record_alone(arrival)) is not None]
        for receipt in receipts:
            self.tally.count(receipt.outcome)
        self._after_commit(receipts)

    def _record(self, arrivals: list[Arrival]) -> list[Receipt]:
        return self._ledger.transact(lambda tx: record(tx, arrivals, self._policy))

    def _record_alone(self, arrival: Arrival) -> Receipt | None:
        try:
            return self._record([arrival])[0]
        except LedgerUnavailable:
            raise
        except Exception as error:
            log.error("event.unrecorded", source=self._source.name, event_id=arrival.mapped.event_id, exc_info=error)
            self.tally.failed.append(arrival.mapped.event_id)
            return None

    def _arrival(self, listed: Listed) -> Arrival | None:
        """As the web would make it, less the signature: this came over Stripe's own API."""
        inbound = Inbound(listed.body, {"content-type": "application/json"})
        try:
            mapped = self._source.map(inbound, self._policy.rules)
        except MalformedEvent as error:
            log.warning("event.unreadable", source=self._source.name, event_id=listed.id, error=str(error))
            self.tally.failed.append(listed.id)
            return None
        return Arrival(self._source.name, mapped, inbound, {"x-bridge-origin": "backfill"}, datetime.now(UTC))


def _listed(event: dict[str, object], account: str | None) -> Listed:
    if account:  # Stripe says it in webhooks; in the list of the account itself it goes without saying
        event.setdefault("account", account)
    created = event.get("created")
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return Listed(str(event.get("id")), created if isinstance(created, int) else 0, body)
