"""Refunds behind their Sales: what holds one, what its Sale's outcome means for it, and what its format remembers.

A refund is a conversion of its own (table `refunds`), and each of its deliveries follows the Sale's delivery to the same
destination. The claim passes over one whose Sale is open, or that follows another refund of that Sale (claims.py).
"""

from collections.abc import Sequence
from dataclasses import replace

from app.ledger.audit import note
from app.ledger.forwarding.claims import Claimed
from app.ledger.transaction import Tx

DEAD_SALE_WAIT_MS = 1_800_000
"""How long a refund whose Sale is dead waits until it looks again."""
BEHIND = "its Sale, delivery"
"""How the reason of a refund begins that follows a Sale that was not delivered."""
NOT_THERE = "its Sale is unattributed, so the destination has nothing to refund"


def refunded(tx: Tx, sale_ids: Sequence[int]) -> dict[int, int]:
    """What was refunded of those of these Sales of which anything was, in minor units."""
    if not sale_ids:
        return {}
    condition, value = tx.among("sale_id", sale_ids)
    statement = f"SELECT sale_id, SUM(minor) FROM refunds WHERE is_dropped = 0 AND {condition} GROUP BY sale_id"
    return {sale_id: int(minor) for sale_id, minor in tx.run(statement, value).all()}


def remember(tx: Tx, values: Sequence[tuple[Claimed, str]]) -> None:
    """Keeps what a format wants to know of these refunds' Sales, where the claims still stand. Idempotent."""
    columns = (("id", "bigint"), ("claim", "text"), ("value", "text"))
    tx.run_given(_REMEMBER, columns, [(claimed.id, claimed.claim, value) for claimed, value in values])


def follow_sales(tx: Tx, sales: Sequence[tuple[int, int | None]], now: int) -> None:
    """After attempts at these deliveries of Sales, each with when it is due again (ms, None: it is closed): their refunds are due
    no earlier. One that had nothing to refund is sent now where its Sale was delivered after all. Reads nothing."""
    columns = (("id", "bigint"), ("due_at", "bigint"))
    tx.run_given(_FOLLOW, columns, [(identity, now if due_at is None else due_at) for identity, due_at in sales])
    tx.run_given(_REOPEN, columns, [(identity, now) for identity, due_at in sales if due_at is None])


def reopen_refunds(tx: Tx, sale_ids: Sequence[int], *, now: int) -> None:
    """These deliveries of Sales are to be sent after all: so are the refunds that were discarded with them. Idempotent."""
    tx.run_given(_FOLLOW_BACK, (("id", "bigint"), ("due_at", "bigint")), [(identity, now) for identity in sale_ids])


def attend(tx: Tx, claimed: Sequence[Claimed], destination: str) -> list[Claimed]:
    """`claimed` without the refunds that must not be sent, and the others with what their format remembers. Within the claim's
    transaction."""
    refunds = {delivery.id: delivery for delivery in claimed if delivery.kind == "refund"}
    if not refunds:
        return list(claimed)
    condition, value = tx.among("d.id", sorted(refunds))
    rows = tx.run(
        "SELECT d.id, s.id, s.status, m.value FROM deliveries d JOIN refunds r ON r.conversion_id = d.conversion_id"
        " LEFT JOIN deliveries s ON s.conversion_id = r.sale_id AND s.destination = d.destination"
        f" LEFT JOIN remembered m ON m.sale_id = r.sale_id AND m.destination = ? WHERE {condition}",
        *(destination, value),
    ).all()
    sends: dict[int, Claimed] = {}
    for identity, sale, status, remembered in rows:
        if status == "delivered" or status is None:  # retention removes a delivery only where it is closed
            sends[identity] = replace(refunds[identity], remembered=remembered or None)
        else:
            _wait(tx, refunds[identity], sale, status)
    return [
        sends.get(delivery.id, delivery) for delivery in claimed if delivery.kind != "refund" or delivery.id in sends
    ]


def _wait(tx: Tx, refund: Claimed, sale: int, status: str) -> None:
    """Ends the claim of a refund whose Sale was not delivered, by what became of that."""
    to, due_at, reason = "pending", None, f"{BEHIND} {sale}, is {status}"
    if status == "unattributed":
        to, reason = "unattributed", NOT_THERE
    elif status in ("discarded", "shadow"):
        to = "discarded"
        note(tx, "bridge", "discard", f"delivery {refund.id}", f"was {'retrying' if refund.attempts else 'pending'}")
    else:
        to, due_at = "retrying" if refund.attempts else "pending", tx.now() + DEAD_SALE_WAIT_MS
    tx.run(
        "UPDATE deliveries SET status = ?, due_at = ?, claim = NULL, claimed_until = NULL, held = 0, last_error = ?"
        " WHERE id = ? AND claim = ?",
        *(to, due_at, reason, refund.id, refund.claim),
    )


_REMEMBER = (
    "INSERT INTO remembered (sale_id, destination, value) SELECT r.sale_id, d.destination, given.value"
    " FROM given JOIN deliveries d ON d.id = given.id JOIN refunds r ON r.conversion_id = d.conversion_id"
    " WHERE d.claim = given.claim ON CONFLICT (sale_id, destination) DO UPDATE SET value = excluded.value"
)
_OF_SALE = (
    " FROM given JOIN deliveries AS sale ON sale.id = given.id JOIN refunds r ON r.sale_id = sale.conversion_id"
    " WHERE deliveries.conversion_id = r.conversion_id AND deliveries.destination = sale.destination"
    " AND deliveries.claim IS NULL"
)
_FOLLOW = f"UPDATE deliveries SET due_at = given.due_at{_OF_SALE} AND deliveries.due_at IS NOT NULL AND deliveries.attempts = 0"
# Not by hand, which an attempt at the beginning of its schedule would be taken for.
_REOPEN = (
    "UPDATE deliveries SET status = 'pending', due_at = given.due_at,"
    " schedule_start = CASE WHEN deliveries.attempts > 0 THEN deliveries.attempts - 1 ELSE 0 END"
    f"{_OF_SALE} AND deliveries.status = 'unattributed' AND sale.status = 'delivered'"
)
_FOLLOW_BACK = (
    "UPDATE deliveries SET status = CASE WHEN deliveries.attempts > 0 THEN 'retrying' ELSE 'pending' END,"
    f" due_at = given.due_at, last_error = NULL{_OF_SALE} AND r.is_dropped = 0 AND deliveries.status = 'discarded'"
    f" AND deliveries.last_error LIKE '{BEHIND}%'"
)
