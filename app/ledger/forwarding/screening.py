"""What is claimed and yet not sent: too old for its destination, or without what that needs. No request is made, and no attempt
is recorded."""

from collections.abc import Sequence

from app.destinations.formats.base import Format
from app.ledger.forwarding.claims import Claimed, unblock_sales
from app.ledger.transaction import Tx

STATUSES = {"unattributed": "unattributed", "permanent": "dead"}


def screen(tx: Tx, claimed: Sequence[Claimed], wire: Format) -> list[Claimed]:
    """The deliveries of `claimed` that may be sent. Closes the others, within the claim's transaction."""
    if not claimed or not (wire.holds_back or wire.max_age):
        return list(claimed)
    age = wire.max_age
    verdicts = {delivery.id: wire.not_sent(delivery.kind, delivery.payload) for delivery in claimed}
    if not age and not any(verdicts.values()):
        return list(claimed)
    now = tx.now()
    old = _too_old(tx, claimed, now - age.seconds * 1000) if age else frozenset()
    kept: list[Claimed] = []
    closed: list[tuple[object, ...]] = []
    for delivery in claimed:
        verdict = verdicts[delivery.id]
        if age and delivery.id in old:
            closed.append(("discarded", f"older than {age.text}", None, delivery.id, delivery.claim))
        elif verdict is not None:
            status = STATUSES[verdict.result]
            closed.append((status, verdict.error, now if status == "dead" else None, delivery.id, delivery.claim))
        else:
            kept.append(delivery)
    if closed:
        tx.run_many(_CLOSE, closed)
        stays = {delivery.id for delivery in kept}
        unblock_sales(
            tx, [delivery.id for delivery in claimed if delivery.kind == "lead" and delivery.id not in stays], now=now
        )
    return kept


def _too_old(tx: Tx, claimed: Sequence[Claimed], before: int) -> frozenset[int]:
    condition, value = tx.among("d.id", [delivery.id for delivery in claimed])
    rows = tx.run(
        "SELECT d.id FROM deliveries d JOIN conversions c ON c.id = d.conversion_id"
        f" WHERE {condition} AND c.occurred_at < ?",
        value,
        before,
    )
    return frozenset(int(identity) for identity in rows.scalars())


_CLOSE = (
    "UPDATE deliveries SET status = ?, last_error = ?, dead_at = ?, due_at = NULL, held = 0, claim = NULL, claimed_until = NULL"
    " WHERE id = ? AND claim = ?"
)
