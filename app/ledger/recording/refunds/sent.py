"""Deliveries of one Sale and of its refunds, as they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.actions.replay import discard, undo_discard
from app.ledger.transaction import Tx

WHOLE = "it was refunded in full before it was sent"
LOWERED = "its Sale was lowered by it before that was sent"
TAKEN_BACK = "the money was not refunded after all"


@dataclass(slots=True)
class Sent:
    """A delivery of the Sale or of one of its refunds."""

    id: int
    status: str
    is_unsent: bool
    """It is open, and nothing of it was tried."""
    due_at: int | None
    last_error: str | None
    payload: str


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
        for owner, name, identity, status, attempts, claim, due_at, error, payload in rows:
            is_unsent = attempts == 0 and claim is None and due_at is not None
            self._by_conversion.setdefault(owner, {})[name] = Sent(identity, status, is_unsent, due_at, error, payload)

    def of(self, conversion_id: int) -> dict[str, Sent]:
        """By destination."""
        return self._by_conversion.get(conversion_id, {})

    def discard(self, delivery: Sent, reason: str) -> None:
        if delivery.status == "discarded":
            return
        discard(self._tx, delivery.id, actor="bridge")
        self._tx.run("UPDATE deliveries SET last_error = ? WHERE id = ?", reason, delivery.id)
        delivery.status, delivery.is_unsent, delivery.due_at, delivery.last_error = "discarded", False, None, reason

    def undo(self, delivery: Sent, reason: str) -> None:
        """Makes due again what was discarded for this reason."""
        if delivery.status != "discarded" or delivery.last_error != reason:
            return
        if undo_discard(self._tx, delivery.id, actor="bridge").done:
            self._tx.run("UPDATE deliveries SET last_error = NULL WHERE id = ?", delivery.id)
            delivery.status, delivery.is_unsent, delivery.due_at = "pending", True, self._now
