"""Claims: the right to send one delivery, for a time. What may be claimed, in which order, and how a claim ends unused."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import destination_state, may_probe, within_rate

SLOW_CLAIM_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours to send until `claimed_until` (database's clock, ms). `payload` is sent to the byte."""

    id: int
    claim: str
    kind: str
    payload: str
    dedupe_key: str
    attempts: int
    schedule_start: int
    created_at: int
    by_hand: bool


def has_due(ledger: Ledger, connection: Connection, destination: str, now: int) -> bool:
    """Whether a look would find something that may be sent now; cheap, and writes nothing."""
    # Without an order PostgreSQL's plan for any values reads the table from its start, since one row is soon found: unless,
    # as at most times, there is none.
    found = ledger.run(
        connection,
        "SELECT 1 FROM deliveries WHERE destination = ? AND due_at <= ? AND claim IS NULL ORDER BY due_at LIMIT 1",
        destination,
        now,
    ).first()
    if found is None:
        return False
    state = destination_state(ledger, connection, destination)
    return state.paused_at is None and (not state.is_open or (state.probe_at or 0) <= now)


def due_since(
    ledger: Ledger, connection: Connection, destination: str, before: int, *, now: int, hold_ms: int
) -> int | None:
    """Since when (ms), and from before `before`, there is a delivery that could have been sent; None where there is none.

    That is one which may be claimed, or whose claim ran out by then and nobody took it over.
    """
    row = ledger.run(
        connection,
        f"SELECT due_at FROM deliveries WHERE id IN ({_CLAIMABLE.format(limit=1)})",
        *(destination, before, now, now - hold_ms),
    ).first()
    statement = (
        "SELECT MIN(claimed_until) FROM deliveries WHERE claim IS NOT NULL AND destination = ? AND claimed_until <= ?"
    )
    left = ledger.run(connection, statement, destination, before).scalar()
    return min((at for at in (row and row[0], left) if at is not None), default=None)


def claim(
    ledger: Ledger,
    connection: Connection,
    destination: str,
    token: str,
    *,
    limit: int,
    now: int,
    claim_ms: int,
    hold_ms: int,
    rate: float | None = None,
) -> list[Claimed]:
    """Claims up to `limit` deliveries that are due, none of which has an earlier one of its person that must go first.

    A person's deliveries go one at a time and in ledger order; one that waits for its next attempt stops only what comes after
    it if it is a Lead, and that for no longer than `hold_ms` after the waiting one was recorded. A paused destination gives
    none, one whose breaker is open at most one. `rate` is in requests a second over all workers.
    """
    ledger.lock(connection, [f"claim:{destination}"])
    state = destination_state(ledger, connection, destination)
    if state.paused_at is not None:
        return []
    if state.is_open:
        limit = 1 if may_probe(ledger, connection, destination, state, now) else 0
    limit, rate_next_at = within_rate(state, limit, now, rate)
    if limit <= 0:
        return []
    began = time.perf_counter()
    statement = (_CLAIM if ledger.is_sqlite else _CLAIM_SKIPPING).format(limit=int(limit))
    values = (destination, now, now, now - hold_ms, token, now + claim_ms)
    rows = ledger.run(connection, statement, *values).all()
    if time.perf_counter() - began > SLOW_CLAIM_SECONDS:
        set_aside(ledger, connection, destination, now=now, hold_ms=hold_ms)
    if rows and rate:
        rate_next_at += int(len(rows) * 1000 / rate)
        ledger.run(connection, "UPDATE destinations SET rate_next_at = ? WHERE name = ?", rate_next_at, destination)
    claimed = [
        Claimed(identity, token, kind, payload, key, attempts, start, created, bool(attempts) and attempts == start)
        for identity, kind, payload, key, attempts, start, created in rows
    ]
    return sorted(claimed, key=lambda c: c.id)


def set_aside(ledger: Ledger, connection: Connection, destination: str, *, now: int, hold_ms: int) -> int:
    """Makes what a Lead holds due when that Lead is (or when the hold ends), so that claims need not pass over it each time.

    Some thousand Sales of one person behind a Lead that is being retried made every claim walk past all of them. Of the first
    2000 that are due, which are those that claims walk past, and no more: a backlog may be long. Returns how many.
    """
    statement = _SET_ASIDE if ledger.is_sqlite else _SET_ASIDE_POSTGRES
    values = (hold_ms, now, destination, now, now - hold_ms, now)
    return int(ledger.run(connection, statement, *values).rowcount)


def let_go(ledger: Ledger, connection: Connection, lead_ids: Sequence[int], *, now: int) -> None:
    """These Leads are closed: what was set aside for them is due now. Idempotent."""
    ledger.run_many(connection, _LET_GO, [(now, lead_id, lead_id, now) for lead_id in lead_ids])


def give_back(ledger: Ledger, connection: Connection, claimed: Sequence[Claimed]) -> None:
    """Ends claims under which nothing was sent. Idempotent."""
    statement = "UPDATE deliveries SET claim = NULL, claimed_until = NULL WHERE id = ? AND claim = ?"
    ledger.run_many(connection, statement, [(c.id, c.claim) for c in claimed])


def release(ledger: Ledger, connection: Connection, tokens: Sequence[str]) -> None:
    """Ends all claims of these tokens. Idempotent; only for tokens under which certainly nothing was sent."""
    statement = "UPDATE deliveries SET claim = NULL, claimed_until = NULL WHERE claimed_until > 0 AND claim = ?"
    ledger.run_many(connection, statement, [(token,) for token in tokens])


# For PostgreSQL's planner: OFFSET keeps it from joining the whole backlog with itself (3 s with 10,000 deliveries of one person);
# ordered by due_at alone, and with a limit that it can see, it walks the index and stops there. Within a person the order is the
# condition's work.
_CLAIMABLE = """
  SELECT d.id FROM deliveries d
  WHERE d.destination = ? AND d.due_at <= ? AND d.claim IS NULL
    AND NOT EXISTS (
      SELECT 1 FROM deliveries e
      WHERE e.person_id = d.person_id AND e.destination = d.destination AND e.due_at IS NOT NULL AND e.id <> d.id
        AND (e.claim IS NOT NULL
             OR (e.id < d.id AND (e.due_at <= ? OR (e.kind = 'lead' AND d.created_at > ?))))
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
  UPDATE deliveries SET due_at = ?
  WHERE person_id = (SELECT person_id FROM deliveries WHERE id = ?)
    AND destination = (SELECT destination FROM deliveries WHERE id = ?)
    AND due_at > ? AND attempts = 0 AND held = 0 AND claim IS NULL"""


def _for_postgres(statement: str) -> str:
    """The same for its dialect and planner, which thinks of a subquery that as many rows may come as its limit allows."""
    if "d.id IN (" in statement:
        statement = statement.replace("d.id IN (", "d.id = ANY (ARRAY(") + ")"
    return statement.replace("MIN(d.", "LEAST(d.")


_SET_ASIDE_POSTGRES = _for_postgres(_SET_ASIDE)
_RETURNING = " RETURNING id, kind, payload, dedupe_key, attempts, schedule_start, created_at"
_CLAIM = (
    f"WITH ready AS ({_CLAIMABLE}) UPDATE deliveries SET claim = ?, claimed_until = ?"
    f" WHERE id IN (SELECT id FROM ready){_RETURNING}"
)
_CLAIM_SKIPPING = (
    f"WITH ready AS ({_CLAIMABLE} FOR UPDATE OF d SKIP LOCKED) UPDATE deliveries SET claim = ?, claimed_until = ?"
    f" WHERE id IN (SELECT id FROM ready){_RETURNING}"
)
