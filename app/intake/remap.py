"""Reprocesses parked events after the mapping or the configuration changed. Their bodies are in the ledger as received."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.errors import MalformedEvent
from app.ledger.audit import note
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.ledger.transaction import Tx
from app.model import Inbound
from app.sources.base import Source

BATCH = 100
REQUEST_SECONDS = 15.0
"""How long one request may reprocess. The command has no limit."""


@dataclass(frozen=True, slots=True)
class Remapped:
    """The result for one parked event. `receipt` is None if its body can no longer be read."""

    event_id: int
    receipt: Receipt | None
    problem: str = ""


def remap_parked(ledger: Ledger, sources: Mapping[str, Source], policy: Policy) -> Iterator[Remapped]:
    """Maps every parked event again, oldest first, one transaction per batch. Events that stay parked can be retried."""
    after = 0
    while True:
        batch: list[Remapped] = ledger.transact(_batch(ledger, sources, policy, after))
        if not batch:
            return
        yield from batch
        after = batch[-1].event_id


def reprocess_parked(ledger: Ledger, sources: Mapping[str, Source], policy: Policy, *, actor: str) -> str:
    """Reprocesses parked events, oldest first, for as long as a request may take. Returns a sentence about the results, which
    the audit log keeps too. Safe to repeat."""
    until = time.monotonic() + REQUEST_SECONDS
    outcomes: Counter[str] = Counter()
    is_complete = True
    for remapped in remap_parked(ledger, sources, policy):
        outcomes[remapped.receipt.outcome if remapped.receipt else "unreadable"] += 1
        if time.monotonic() > until:
            is_complete = False
            break
    message = _sentence(outcomes, is_complete)
    ledger.transact(lambda tx: note(tx, actor, "remap", "parked events", message))
    return message


def _sentence(outcomes: Counter[str], is_complete: bool) -> str:
    if not outcomes:
        return "No event is parked."
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(outcomes.items()))
    return f"Reprocessed: {counts}." + (
        "" if is_complete else " Time ran out: run `bridge replay --parked` for the rest."
    )


def _batch(ledger: Ledger, sources: Mapping[str, Source], policy: Policy, after: int) -> Callable[[Tx], list[Remapped]]:
    def work(tx: Tx) -> list[Remapped]:
        rows = tx.run(
            "SELECT id, source, headers, body, received_at FROM events WHERE outcome = 'parked' AND id > ? ORDER BY id LIMIT ?",
            after,
            BATCH,
        ).all()
        results, arrivals = [], []
        for event_id, name, headers, body, received_at in rows:
            source = sources.get(name)
            if source is None:
                results.append(Remapped(event_id, None, f"there is no source called {name} now"))
                continue
            inbound = Inbound(bytes(body), json.loads(headers))
            try:
                mapped = source.map(inbound, policy.rules)
            except MalformedEvent as error:
                results.append(Remapped(event_id, None, str(error)))
                continue
            moment = datetime.fromtimestamp(received_at / 1000, UTC)
            arrivals.append(Arrival(name, mapped, inbound, {}, moment, recorded_as=event_id))
        receipts = record(tx, arrivals, policy) if arrivals else []
        results += [Remapped(receipt.id, receipt) for receipt in receipts]
        return sorted(results, key=lambda result: result.event_id)

    return work
