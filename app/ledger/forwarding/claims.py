"""Claims: the right to send one delivery, for a limited time. Which may be claimed, in which order, and how a claim ends
unused."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ledger.forwarding.breaker import (
    REFUSED_BEFORE,
    DestinationState,
    destination_state,
    may_probe,
    note_recheck,
    within_rate,
)
from app.ledger.transaction import Tx
from app.model import DeliveryKind

SLOW_CLAIM_SECONDS = 0.02
SLOW_ROW_SECONDS = 0.0002
CANDIDATES = 1000
NEWEST = 1000
"""How many of the deliveries that were due last a claim of the newest looks at."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker may send until `claimed_until` (the database's clock, ms). `payload` is sent byte for byte."""

    id: int
    claim: str
    kind: DeliveryKind
    payload: str
    dedupe_key: str
    attempts: int
    schedule_start: int
    created_at: int
    by_hand: bool
    last_status: int | None = None
    """The status of the previous attempt."""
    note: str | None = None
    event_id: int = 0
    """The event that it came of, for logs."""
    remembered: str | None = None
    """What a format remembers of the Sale that a refund belongs to."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How much to claim, and how. See `claim`."""

    token: str
    limit: int
    claim_ms: int
    hold_ms: int
    rate: float | None = None
    newest: bool = False
    """Of those that were due last. So that new conversions are not behind a whole backlog."""


def has_due(tx: Tx, destination: str, now: int) -> bool:
    """Whether something may be sent now. Cheap, and writes nothing."""
    # Without an order, PostgreSQL's generic plan reads the table from its start, expecting to find a row soon. Most of the
    # time there is none.
    row = tx.run(
        "SELECT 1 FROM deliveries WHERE destination = ? AND due_at <= ? AND claim IS NULL ORDER BY due_at LIMIT 1",
        destination,
        now,
    ).first()
    if row is None:
        return False
    state = destination_state(tx, destination)
    if state.paused_at is not None:
        return state.may_recheck(now) and bool(_candidates(tx, destination, now, unrefused=True))
    return not state.is_open or (state.probe_at or 0) <= now


def due_since(tx: Tx, destination: str, before: int, *, now: int, hold_ms: int) -> int | None:
    """The time (ms), before `before`, since which a delivery could have been sent; None if there is none.

    Such a delivery can be claimed, or its claim has expired and no worker took it over.
    """
    row = tx.run(
        f"SELECT due_at FROM deliveries WHERE id IN ({_CLAIMABLE.format(limit=1, among='')})",
        *(destination, before, now, now - hold_ms),
    ).first()
    statement = (
        "SELECT MIN(claimed_until) FROM deliveries WHERE claim IS NOT NULL AND destination = ? AND claimed_until <= ?"
    )
    left = tx.run(statement, destination, before).scalar()
    return min((moment for moment in (row and row[0], left) if moment is not None), default=None)


def claim(
    tx: Tx,
    destination: str,
    token: str,
    *,
    limit: int,
    now: int,
    claim_ms: int,
    hold_ms: int,
    rate: float | None = None,
) -> list[Claimed]:
    """Claims up to `limit` due deliveries that no earlier delivery of the same person blocks.

    A person's deliveries go one at a time and in ledger order. A delivery that waits for its next attempt blocks later ones only
    if it is a Lead, and for at most `hold_ms` after it was recorded. A destination that is paused by hand gets no claims. One
    with an open breaker, or that refuses deliveries, gets at most one: the least tried, so that payloads that fail for reasons
    of their own never hold up the others. `rate` is in requests per second over all workers.
    """
    lock_claims(tx, destination)
    wish = Wish(token, limit, claim_ms, hold_ms, rate)
    return claim_locked(tx, destination, destination_state(tx, destination), wish, now=now)


def lock_claims(tx: Tx, destination: str) -> None:
    """Blocks other claims for this destination until the transaction ends."""
    tx.lock([f"claim:{destination}"])


def claim_locked(tx: Tx, destination: str, state: DestinationState, wish: Wish, *, now: int) -> list[Claimed]:
    """`claim` under the lock, and with what was read of the destination since."""
    token, rate, hold_ms = wish.token, wish.rate, wish.hold_ms
    probes = state.paused_at is not None or state.is_open or state.is_doubted
    if probes and not may_probe(tx, destination, state, now):
        return []
    limit, rate_next_at = within_rate(state, 1 if probes else wish.limit, now, rate)
    if limit <= 0:
        return []
    limit = _rounded(limit)
    began = time.perf_counter()
    statement = _CLAIM if tx.is_sqlite else _CLAIM_SKIPPING
    rest = (now, now - hold_ms, token, now + wish.claim_ms)
    if probes or state.mixed.until > now:
        rows = _claim_least_tried(tx, destination, state, limit, statement, now, rest)
    elif wish.newest:
        rows = _claim_newest(tx, destination, limit, statement, now, rest)
    else:
        rows = tx.run(statement.format(limit=int(limit), among=""), destination, now, *rest).all()
    if time.perf_counter() - began > SLOW_CLAIM_SECONDS + SLOW_ROW_SECONDS * len(rows):
        defer_blocked(tx, destination, now=now, hold_ms=hold_ms)
    if rows and rate:
        rate_next_at += int(len(rows) * 1000 / rate)
        tx.run("UPDATE destinations SET rate_next_at = ? WHERE name = ?", rate_next_at, destination)
    claimed = [
        Claimed(
            identity,
            token,
            kind,
            payload,
            key,
            tried,
            start,
            created,
            bool(tried) and tried == start,
            status,
            note,
            event,
        )
        for identity, kind, payload, key, tried, start, created, status, note, event in rows
    ]
    return sorted(claimed, key=lambda c: c.id)


def _rounded(limit: int) -> int:
    """A little less, so that few different statements are prepared."""
    step = 1 << max(limit.bit_length() - 3, 0)
    return limit - limit % step


def _claim_least_tried(
    tx: Tx,
    destination: str,
    state: DestinationState,
    limit: int,
    statement: str,
    now: int,
    rest: Sequence[Any],
) -> Sequence[Any]:
    """Claims the deliveries that best show whether the destination accepts anything."""
    is_paused = state.paused_at is not None
    ids = _candidates(tx, destination, now, unrefused=is_paused)
    few = max(2 * limit, 20)
    for some in (ids[:limit], ids[limit:few], ids[few:]):
        if not some:
            break
        condition, value = tx.among("d.id", some)
        chosen = statement.format(limit=int(limit), among=f"AND {condition}")
        if rows := tx.run(chosen, destination, now, value, *rest).all():
            if is_paused:
                note_recheck(tx, destination, state, now)
            return list(rows)
    return []


def _claim_newest(tx: Tx, destination: str, limit: int, statement: str, now: int, rest: Sequence[Any]) -> Sequence[Any]:
    """Claims of the NEWEST that were due last, and of these none that must wait for an earlier one of its person."""
    latest = (
        "SELECT id FROM deliveries WHERE destination = ? AND due_at <= ? AND claim IS NULL"
        f" ORDER BY due_at DESC LIMIT {NEWEST}"
    )
    ids = [int(row[0]) for row in tx.run(latest, destination, now).all()]
    condition, value = tx.among("d.id", ids)
    chosen = statement.replace("ORDER BY d.due_at", "ORDER BY d.due_at DESC")
    chosen = chosen.format(limit=int(limit), among=f"AND {condition}")
    return list(tx.run(chosen, destination, now, value, *rest).all()) if ids else []


def _candidates(tx: Tx, destination: str, now: int, *, unrefused: bool) -> list[int]:
    """Due deliveries in the order to try them: the least tried first, and in random order among these.

    The order is random, since many deliveries in a row may fail for reasons of their own. They are taken from both ends of the
    queue, since a backlog may be long. unrefused: only deliveries whose last attempt was not refused.
    """
    condition = f" AND (last_status IS NULL OR NOT {REFUSED_BEFORE})" if unrefused else ""
    select = (
        f"SELECT id, attempts - schedule_start + (CASE WHEN {REFUSED_BEFORE} THEN 1 ELSE 0 END) AS tries FROM deliveries"
        f" WHERE destination = ? AND due_at <= ? AND claim IS NULL{condition} ORDER BY due_at {{}} LIMIT {CANDIDATES}"
    )
    both = f"SELECT * FROM ({select.format('')}) a UNION SELECT * FROM ({select.format('DESC')}) b"
    rows = [(int(tries), int(identity)) for identity, tries in tx.run(both, *(destination, now) * 2).all()]
    random.shuffle(rows)
    rows.sort(key=lambda row: row[0])
    return [identity for _, identity in rows]


def defer_blocked(tx: Tx, destination: str, *, now: int, hold_ms: int) -> int:
    """Postpones deliveries held by a Lead until that Lead is due (or the hold ends), so that claims need not skip them each time.

    Thousands of Sales of one person behind a retrying Lead made every claim skip all of them. Looks only at the first 2000 due
    deliveries, which are those that claims skip, since a backlog may be long. Returns how many it postponed.
    """
    statement = _SET_ASIDE if tx.is_sqlite else _SET_ASIDE_POSTGRES
    values = (hold_ms, now, destination, now, now - hold_ms, now)
    return int(tx.run(statement, *values).rowcount)


def unblock_sales(tx: Tx, lead_ids: Sequence[int], *, now: int) -> None:
    """Makes Sales due that were deferred for these Leads, which are closed. Idempotent."""
    tx.run_given(_LET_GO, (("id", "bigint"), ("now", "bigint")), [(lead_id, now) for lead_id in lead_ids])


def return_unsent(tx: Tx, claimed: Sequence[Claimed]) -> None:
    """Returns claims under which nothing was sent. Idempotent."""
    statement = (
        "UPDATE deliveries SET claim = NULL, claimed_until = NULL"
        " FROM given WHERE deliveries.id = given.id AND deliveries.claim = given.claim"
    )
    tx.run_given(statement, (("id", "bigint"), ("claim", "text")), [(c.id, c.claim) for c in claimed])


def drop_claims(tx: Tx, tokens: Sequence[str]) -> None:
    """Ends all claims of these tokens. Idempotent; only for tokens under which certainly nothing was sent."""
    statement = "UPDATE deliveries SET claim = NULL, claimed_until = NULL WHERE claimed_until > 0 AND claim = ?"
    tx.run_many(statement, [(token,) for token in tokens])


# For PostgreSQL's planner: OFFSET keeps it from joining the whole backlog with itself (3 s with 10,000 deliveries of one person);
# ordered by due_at alone, and with a limit that it can see, it walks the index and stops there. Within a person the order is the
# condition's work.
_CLAIMABLE = """
  SELECT d.id FROM deliveries d
  WHERE d.destination = ? AND d.due_at <= ? AND d.claim IS NULL {among}
    AND NOT EXISTS (
      SELECT 1 FROM deliveries e
      WHERE e.person_id = d.person_id AND e.destination = d.destination AND e.due_at IS NOT NULL AND e.id <> d.id
        AND (e.claim IS NOT NULL
             OR (e.id < d.id AND (e.due_at <= ? OR (e.kind = 'lead' AND d.created_at > ?)))
             OR (d.kind = 'refund' AND EXISTS (
                  SELECT 1 FROM refunds r LEFT JOIN refunds o ON o.conversion_id = e.conversion_id
                  WHERE r.conversion_id = d.conversion_id
                    AND (e.conversion_id = r.sale_id OR (o.sale_id = r.sale_id AND e.id < d.id)))))
      LIMIT 1 OFFSET 0)
  ORDER BY d.due_at LIMIT {limit}"""
_SET_ASIDE = """
  UPDATE deliveries AS d SET due_at = MIN(d.created_at + ?, COALESCE((
      SELECT MIN(e.due_at) FROM deliveries e
      WHERE e.person_id = d.person_id AND e.destination = d.destination AND e.kind = 'lead' AND e.due_at > ? AND e.id < d.id
    ), d.due_at))
  WHERE d.id IN (
    SELECT b.id FROM (
      SELECT id, person_id, destination, created_at, kind FROM deliveries
      WHERE destination = ? AND due_at <= ? AND claim IS NULL ORDER BY due_at LIMIT 2000) b
    WHERE b.created_at > ? AND b.kind = 'sale'
      AND EXISTS (
        SELECT 1 FROM deliveries e
        WHERE e.person_id = b.person_id AND e.destination = b.destination AND e.kind = 'lead' AND e.due_at > ? AND e.id < b.id
        LIMIT 1 OFFSET 0))"""
_LET_GO = """
  UPDATE deliveries SET due_at = given.now
  FROM given JOIN deliveries AS lead ON lead.id = given.id
  WHERE deliveries.person_id = lead.person_id AND deliveries.destination = lead.destination
    AND deliveries.due_at > given.now AND deliveries.attempts = 0 AND deliveries.held = 0 AND deliveries.claim IS NULL"""


def _for_postgres(statement: str) -> str:
    """The same for its dialect and planner, which thinks of a subquery that as many rows may come as its limit allows."""
    if "d.id IN (" in statement:
        statement = statement.replace("d.id IN (", "d.id = ANY (ARRAY(") + ")"
    return statement.replace("MIN(d.", "LEAST(d.")


_SET_ASIDE_POSTGRES = _for_postgres(_SET_ASIDE)
_RETURNING = (
    " RETURNING id, kind, payload, dedupe_key, attempts, schedule_start, created_at, last_status, note, event_id"
)
_CLAIM = (
    f"WITH ready AS ({_CLAIMABLE}) UPDATE deliveries SET claim = ?, claimed_until = ?"
    f" WHERE id IN (SELECT id FROM ready){_RETURNING}"
)
_CLAIM_SKIPPING = (
    f"WITH ready AS ({_CLAIMABLE} FOR UPDATE OF d SKIP LOCKED) UPDATE deliveries SET claim = ?, claimed_until = ?"
    f" WHERE id IN (SELECT id FROM ready){_RETURNING}"
)
