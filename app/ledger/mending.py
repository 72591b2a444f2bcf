"""What people may do to deliveries: replay and discard; recorded in the audit log with who did it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from app.errors import DeliveryNotFound
from app.ledger import tables
from app.ledger.claims import let_go
from app.ledger.engine import Ledger

BATCH = 200
BLANK_PAYLOAD = '{"forgotten":true,"customerExternalId":""}'
"""Of a person who was forgotten: there is nothing left to send."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of one delivery's request, in words for whoever asked."""

    delivery_id: int
    done: bool
    message: str


def replay(ledger: Ledger, connection: Connection, delivery_id: int, *, actor: str, force: bool = False) -> Mended:
    """Makes a delivery due now. Dead or discarded: pending, with the schedule afresh; open: due now; delivered: only by force.

    One that is being sent is left alone. Raises DeliveryNotFound. Doing it twice is harmless.
    """
    lock = "" if ledger.is_sqlite else " FOR UPDATE"
    if delivery_id > tables.LARGEST_ID:
        raise DeliveryNotFound(delivery_id)
    row = ledger.run(
        connection,
        f"SELECT status, claim, payload FROM deliveries WHERE id = ?{lock}",
        delivery_id,
    ).first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    status, claim, payload = row
    if claim is not None:
        return Mended(delivery_id, False, "it is being sent just now: left alone")
    if payload == BLANK_PAYLOAD:
        return Mended(delivery_id, False, "its person was forgotten, so there is nothing left to send: left alone")
    if status == "delivered" and not force:
        return Mended(delivery_id, False, "it was delivered: use force to send it again")
    now = ledger.now(connection)
    if status in ("pending", "retrying"):
        ledger.run(connection, "UPDATE deliveries SET due_at = ?, held = 0 WHERE id = ?", now, delivery_id)
    else:
        ledger.run(
            connection,
            "UPDATE deliveries SET status = 'pending', due_at = ?, held = 0, schedule_start = attempts, delivered_at = NULL"
            " WHERE id = ?",
            now,
            delivery_id,
        )
    note(ledger, connection, actor, "replay", f"delivery {delivery_id}", f"was {status}")
    return Mended(delivery_id, True, f"it was {status} and is due now")


def discard(ledger: Ledger, connection: Connection, delivery_id: int, *, actor: str) -> Mended:
    """Closes a delivery that nobody wants sent. Idempotent; one that is being sent or delivered is left alone."""
    lock = "" if ledger.is_sqlite else " FOR UPDATE"
    if delivery_id > tables.LARGEST_ID:
        raise DeliveryNotFound(delivery_id)
    row = ledger.run(
        connection,
        f"SELECT status, claim FROM deliveries WHERE id = ?{lock}",
        delivery_id,
    ).first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    status, claim = row
    if claim is not None:
        return Mended(delivery_id, False, "it is being sent just now: left alone")
    if status in ("delivered", "discarded"):
        return Mended(delivery_id, False, f"it is {status}: left alone")
    ledger.run(
        connection, "UPDATE deliveries SET status = 'discarded', due_at = NULL, held = 0 WHERE id = ?", delivery_id
    )
    let_go(ledger, connection, [delivery_id], now=ledger.now(connection))
    note(ledger, connection, actor, "discard", f"delivery {delivery_id}", f"was {status}")
    return Mended(delivery_id, True, f"it was {status} and is discarded")


def withdraw(ledger: Ledger, connection: Connection, conversion_id: int, reason: str) -> None:
    """Discards what of a conversion was not tried yet. Idempotent."""
    rows = ledger.run(
        connection,
        "UPDATE deliveries SET last_error = ?"
        " WHERE conversion_id = ? AND due_at IS NOT NULL AND attempts = 0 AND claim IS NULL RETURNING id",
        reason,
        conversion_id,
    )
    for delivery_id in rows.scalars().all():
        discard(ledger, connection, delivery_id, actor="bridge")


def matching(
    ledger: Ledger,
    connection: Connection,
    *,
    status: str,
    source: str | None = None,
    since: int | None = None,
    after: int = 0,
    limit: int = BATCH,
) -> Sequence[int]:
    """Ids of deliveries of that status, ascending from `after`: one batch of a bulk replay. since: created at or after (ms)."""
    conditions, values = ["status = ?", "id > ?"], [status, after]
    if source is not None:
        conditions.append("source = ?")
        values.append(source)
    if since is not None:
        conditions.append("created_at >= ?")
        values.append(since)
    statement = f"SELECT id FROM deliveries WHERE {' AND '.join(conditions)} ORDER BY id LIMIT ?"
    return list(ledger.run(connection, statement, *values, limit).scalars())


def replay_all(
    ledger: Ledger, *, status: str, source: str | None = None, since: int | None = None, actor: str, force: bool = False
) -> list[Mended]:
    """Replays all that match, in batches of their own transactions; what was done stays done if it is interrupted."""
    done: list[Mended] = []
    after = 0
    while True:

        def batch(connection: Connection, after: int = after) -> list[Mended]:
            ids = matching(ledger, connection, status=status, source=source, since=since, after=after)
            return [replay(ledger, connection, one, actor=actor, force=force) for one in ids]

        mended = ledger.transact(batch)
        if not mended:
            return done
        done += mended
        after = mended[-1].delivery_id


def note(ledger: Ledger, connection: Connection, actor: str, action: str, subject: str, detail: str = "") -> None:
    """One line in the audit log."""
    row = (ledger.now(connection), actor, action, subject, detail)
    ledger.insert(connection, tables.audit, ("at", "actor", "action", "subject", "detail"), [row])
