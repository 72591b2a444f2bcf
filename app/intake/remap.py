"""Reprocesses parked events after the mapping or the configuration changed, or after values were filled in by hand. Their bodies
are in the ledger as received."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.errors import MalformedEvent
from app.intake.parked.fill import filled
from app.ledger.audit import note
from app.ledger.engine import Ledger
from app.ledger.parked.acts import LOCK
from app.ledger.parked.reading import EVERY, ParkedRow, ParkedSelection, parked_rows
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.ledger.transaction import Tx
from app.sources.base import Source

BATCH = 100
REQUEST_SECONDS = 15.0
"""How long one request may reprocess. The command has no limit."""
PREVIEW_SECONDS = 5.0
NO_LIMIT = float("inf")
MOST_REASONS = 20
LONGEST_BODY = 2**40
"""Reprocessing reads bodies of any size."""


@dataclass(frozen=True, slots=True)
class Remapped:
    """The result for one parked event. `receipt` is None if its body can no longer be read."""

    event_id: int
    receipt: Receipt | None
    problem: str = ""

    @property
    def outcome(self) -> str:
        return self.receipt.outcome if self.receipt else "unreadable"

    @property
    def reason(self) -> str:
        return self.receipt.reason if self.receipt else self.problem


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """What became of the chosen events, or would. staying: those that stay parked or cannot be read, by reason, the most first.
    next: the ID after which to continue; None if all are done."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    staying: Sequence[tuple[str, int]] = ()
    next: int | None = None

    @property
    def is_empty(self) -> bool:
        return not self.outcomes

    def counts(self) -> str:
        """ "4 parked, 6 sale"."""
        return ", ".join(f"{count:,} {name}" for name, count in sorted(self.outcomes.items()))


class _RolledBack(Exception):
    """Ends the transaction of a preview."""


def remap_parked(
    ledger: Ledger, sources: Mapping[str, Source], policy: Policy, selection: ParkedSelection = EVERY, after: int = 0
) -> Iterator[Remapped]:
    """Maps the parked events of `selection` again, oldest first, one transaction per batch. Events that stay parked can be retried.

    after: only events with IDs above this one.
    """
    while True:
        batch: list[Remapped] = ledger.transact(_batch(sources, policy, selection, after))
        if not batch:
            return
        yield from batch
        after = batch[-1].event_id


def reprocess_parked(
    ledger: Ledger,
    sources: Mapping[str, Source],
    policy: Policy,
    selection: ParkedSelection = EVERY,
    *,
    actor: str,
    after: int = 0,
    seconds: float = REQUEST_SECONDS,
    show: Callable[[Remapped], object] | None = None,
) -> Reprocessed:
    """Reprocesses the parked events of `selection`, oldest first, for up to `seconds`. The audit log keeps the counts. Safe to
    repeat. show: called with each result."""
    reprocessed = _counted(remap_parked(ledger, sources, policy, selection, after), seconds, show)
    of = f"source {selection.source}" if selection.source else "parked events"
    if len(selection.ids) == 1:
        of = f"event {selection.ids[0]}"
    ledger.transact(lambda tx: note(tx, actor, "remap", of, sentence(reprocessed)))
    return reprocessed


def preview_parked(
    ledger: Ledger,
    sources: Mapping[str, Source],
    policy: Policy,
    selection: ParkedSelection = EVERY,
    *,
    seconds: float = PREVIEW_SECONDS,
    show: Callable[[Remapped], object] | None = None,
) -> Reprocessed:
    """The result that `reprocess_parked` would have. Records in the same way, and rolls every transaction back.

    Each batch is rolled back separately, so two events of one purchase in different batches both look new.
    """
    return _counted(_previewed(ledger, sources, policy, selection), seconds, show)


def sentence(reprocessed: Reprocessed) -> str:
    """The result for people."""
    if reprocessed.is_empty:
        return "No event is parked."
    return f"Reprocessed: {reprocessed.counts()}." + (
        "" if reprocessed.next is None else " Time ran out: reprocess again for the rest."
    )


def _previewed(
    ledger: Ledger, sources: Mapping[str, Source], policy: Policy, selection: ParkedSelection
) -> Iterator[Remapped]:
    after = 0
    while True:
        batch: list[Remapped] = []

        def work(tx: Tx, after: int = after, batch: list[Remapped] = batch) -> None:
            batch[:] = _batch(sources, policy, selection, after)(tx)
            raise _RolledBack

        with suppress(_RolledBack):
            ledger.transact(work)
        if not batch:
            return
        yield from batch
        after = batch[-1].event_id


def _counted(
    results: Iterator[Remapped], seconds: float, show: Callable[[Remapped], object] | None = None
) -> Reprocessed:
    until = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    staying: Counter[str] = Counter()
    last: int | None = None
    for number, remapped in enumerate(results, 1):
        outcomes[remapped.outcome] += 1
        if show is not None:
            show(remapped)
        if remapped.outcome in ("parked", "unreadable"):
            staying[remapped.reason] += 1
        if number % BATCH == 0 and time.monotonic() > until:  # all of a batch are done, or none
            last = remapped.event_id
            break
    return Reprocessed(outcomes, staying.most_common(MOST_REASONS), last)


def remap_event(tx: Tx, sources: Mapping[str, Source], policy: Policy, event_id: int) -> Remapped | None:
    """Maps one parked event again, within the caller's transaction; None if it is not parked."""
    return next(iter(_batch(sources, policy, ParkedSelection((event_id,)), 0)(tx)), None)


def _batch(
    sources: Mapping[str, Source], policy: Policy, selection: ParkedSelection, after: int
) -> Callable[[Tx], list[Remapped]]:
    def work(tx: Tx) -> list[Remapped]:
        tx.lock([LOCK])
        remapped, arrivals = [], []
        for row in parked_rows(tx, selection, after=after, limit=BATCH, longest=LONGEST_BODY):
            arrival = _arrival(row, sources, policy)
            if isinstance(arrival, str):
                remapped.append(Remapped(row.id, None, arrival))
            else:
                arrivals.append(arrival)
        receipts = record(tx, arrivals, policy) if arrivals else []
        remapped += [Remapped(receipt.id, receipt) for receipt in receipts]
        return sorted(remapped, key=lambda entry: entry.event_id)

    return work


def _arrival(row: ParkedRow, sources: Mapping[str, Source], policy: Policy) -> Arrival | str:
    """The event as it is mapped now, or why it cannot be."""
    source = sources.get(row.source)
    if source is None:
        return f"there is no source called {row.source} now"
    assert row.inbound is not None
    try:
        mapped = source.map(row.inbound, policy.rules)
    except MalformedEvent as error:
        return str(error)
    mapped = filled(mapped, row.filled_in, policy.rules.phone_region)
    moment = datetime.fromtimestamp(row.received_at / 1000, UTC)
    return Arrival(row.source, mapped, row.inbound, {}, moment, recorded_as=row.id)
