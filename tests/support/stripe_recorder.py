"""Records events as the web would, by default Stripe's, and says what came of them."""

import json
from datetime import UTC, datetime
from typing import Any

from app.destinations.formats.events import Events
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival, Policy, Receipt, Route
from app.ledger.recording.record import record
from app.ledger.transaction import Tx
from app.model import Inbound, Rules
from app.sources.base import Source
from app.sources.stripe.source import SOURCE


class Recorder:
    """Records bodies as the web would, into a ledger of its own."""

    def __init__(self, ledger: Ledger, source: Source = SOURCE, **rules: Any) -> None:
        self.ledger = ledger
        self.source = source
        self.policy = Policy(Rules(**rules), [Route("main", Events())])

    def take(self, *bodies: bytes) -> list[Receipt]:
        now = datetime.now(UTC)
        arrivals = [self._arrival(body, now) for body in bodies]
        return self.ledger.transact(lambda tx: record(tx, arrivals, self.policy))

    def take_within(self, tx: Tx, *bodies: bytes) -> list[Receipt]:
        """The same, within a transaction of the caller's."""
        now = datetime.now(UTC)
        return record(tx, [self._arrival(body, now) for body in bodies], self.policy)

    def _arrival(self, body: bytes, now: datetime) -> Arrival:
        inbound = Inbound(body, {})
        return Arrival(self.source.name, self.source.map(inbound, self.policy.rules), inbound, {}, now)

    def payloads(self, kind: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Of the deliveries of that kind whose id is beyond `after`, less those that were withdrawn."""
        statement = "SELECT payload FROM deliveries WHERE kind = ? AND id > ? AND status <> 'discarded' ORDER BY id"
        with self.ledger.read() as tx:
            rows = tx.run(statement, kind, after).scalars().all()
        return [json.loads(row) for row in rows]

    def state_of(self, identity: str) -> str | None:
        """Whether the purchase of that id is counted, pending, released or only linked; None where it is not known."""
        statement = "SELECT state FROM conversions JOIN dedupe_keys ON conversion_id = conversions.id WHERE key = ?"
        with self.ledger.read() as tx:
            state: str | None = tx.run(statement, f"sale:stripe:{identity}").scalar()
            return state

    def newest(self) -> int:
        """The id of the latest delivery."""
        with self.ledger.read() as tx:
            return int(tx.run("SELECT coalesce(max(id), 0) FROM deliveries").scalar_one())

    def send_all(self) -> None:
        """As if the workers had attempted everything that is recorded."""
        with self.ledger.write() as tx:
            tx.run("UPDATE deliveries SET status = 'delivered', attempts = 1, due_at = NULL WHERE due_at IS NOT NULL")

    def send_due(self) -> None:
        """As if the workers had attempted what is due by now."""
        statement = "UPDATE deliveries SET status = 'delivered', attempts = 1, due_at = NULL WHERE due_at <= ?"
        with self.ledger.write() as tx:
            tx.run(statement, tx.now())

    def open_or_sent(self) -> list[str]:
        """Dedupe keys of all deliveries that were not withdrawn."""
        return [key for key, status in self.deliveries() if status != "discarded"]

    def deliveries(self) -> list[tuple[str, str]]:
        """(dedupe key, status) of each, the oldest first."""
        with self.ledger.read() as tx:
            rows = tx.run("SELECT dedupe_key, status FROM deliveries ORDER BY id").all()
        return [(key, status) for key, status in rows]

    def conflicts(self) -> list[str]:
        """What was found to contradict, the oldest first."""
        with self.ledger.read() as tx:
            return list(tx.run("SELECT reason FROM conflicts ORDER BY id").scalars())
