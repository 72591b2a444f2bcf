"""Deliveries of one Sale and of its refunds, as they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.actions.replay import discard, undo_discard
from app.ledger.transaction import Tx

LOWERED = "its Sale was lowered by it before that was sent"
_UNTAKEN = "'transient', 'unauthorized', 'redirected', 'unattributed', 'continued'"
"""Results of attempts after which the destination has nothing."""
TAKEN_BACK = "the money was not refunded after all"


@dataclass(slots=True)
class Sent:
    """A delivery of the Sale or of one of its refunds."""

    id: int
    status: str
    attempts: int
    is_claimed: bool
    may_be_taken: bool
    """After one of its attempts the destination may have it."""
    due_at: int | None
    last_error: str | None
    payload: str

    @property
    def is_unsent(self) -> bool:
        """Whether it is open and was never attempted."""
        return self.is_untaken and self.attempts == 0

    @property
    def is_untaken(self) -> bool:
        """Whether it is open and its destination certainly has not accepted it."""
        return self.due_at is not None and not self.is_claimed and not self.may_be_taken


class Deliveries:
    """Those of these conversions. Locks them until the transaction ends."""

    def __init__(self, tx: Tx, conversion_ids: Sequence[int], now: int) -> None:
        self._tx, self._now = tx, now
        self._by_conversion: dict[int, dict[str, Sent]] = {}
        condition, value = tx.among("conversion_id", conversion_ids)
        rows = tx.run(
            "SELECT conversion_id, destination, id, status, attempts, claim, due_at, last_error, payload FROM deliveries"
            f" WHERE {condition} ORDER BY id{tx.for_update}",
            value,
        ).all()
        condition, value = tx.among("delivery_id", [row[2] for row in rows if row[4]])
        statement = f"SELECT DISTINCT delivery_id FROM attempts WHERE {condition} AND result NOT IN ({_UNTAKEN})"
        taken = set(tx.run(statement, value).scalars())
        for owner, name, identity, status, attempts, claim, due_at, error, payload in rows:
            sent = Sent(identity, status, attempts, claim is not None, identity in taken, due_at, error, payload)
            self._by_conversion.setdefault(owner, {})[name] = sent

    def of(self, conversion_id: int) -> dict[str, Sent]:
        """The deliveries of a conversion, by destination."""
        return self._by_conversion.get(conversion_id, {})

    def discard(self, delivery: Sent, reason: str) -> None:
        if delivery.status == "discarded":
            return
        discard(self._tx, delivery.id, actor="bridge")
        self._tx.run("UPDATE deliveries SET last_error = ? WHERE id = ?", reason, delivery.id)
        delivery.status, delivery.due_at, delivery.last_error = "discarded", None, reason

    def undo(self, delivery: Sent, reason: str) -> None:
        """Makes a delivery due again if it was discarded for this reason."""
        if delivery.status != "discarded" or delivery.last_error != reason:
            return
        if undo_discard(self._tx, delivery.id, actor="bridge").done:
            self._tx.run("UPDATE deliveries SET last_error = NULL WHERE id = ?", delivery.id)
            delivery.status, delivery.due_at, delivery.last_error = "pending", self._now, None
