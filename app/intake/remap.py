"""Maps parked events anew, after the mapping or the configuration changed: their bodies are in the ledger as received."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.errors import MalformedEvent
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.ledger.transaction import Tx
from app.model import Inbound
from app.sources.base import Source

BATCH = 100


@dataclass(frozen=True, slots=True)
class Remapped:
    """What became of one parked event. `receipt` is None where its body cannot be read any more."""

    event_id: int
    receipt: Receipt | None
    problem: str = ""


def remap_parked(ledger: Ledger, sources: Mapping[str, Source], policy: Policy) -> Iterator[Remapped]:
    """Maps every parked event again, oldest first; each batch is one transaction. What stays parked can be tried again."""
    after = 0
    while True:
        batch: list[Remapped] = ledger.transact(_batch(ledger, sources, policy, after))
        if not batch:
            return
        yield from batch
        after = batch[-1].event_id


def _batch(ledger: Ledger, sources: Mapping[str, Source], policy: Policy, after: int) -> Callable[[Tx], list[Remapped]]:
    def work(tx: Tx) -> list[Remapped]:
        rows = tx.run(
            "SELECT id, source, headers, body, received_at FROM events WHERE outcome = 'parked' AND id > ? ORDER BY id LIMIT ?",
            after,
            BATCH,
        ).all()
        found, arrivals = [], []
        for event_id, name, headers, body, received_at in rows:
            source = sources.get(name)
            if source is None:
                found.append(Remapped(event_id, None, f"there is no source called {name} now"))
                continue
            inbound = Inbound(bytes(body), json.loads(headers))
            try:
                mapped = source.map(inbound, policy.rules)
            except MalformedEvent as error:
                found.append(Remapped(event_id, None, str(error)))
                continue
            moment = datetime.fromtimestamp(received_at / 1000, UTC)
            arrivals.append(Arrival(name, mapped, inbound, {}, moment, recorded_as=event_id))
        receipts = record(tx, arrivals, policy) if arrivals else []
        found += [Remapped(receipt.id, receipt) for receipt in receipts]
        return sorted(found, key=lambda one: one.event_id)

    return work
