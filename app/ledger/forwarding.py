"""The workers' side of the ledger: claims and outcomes. A claim is the right to send one delivery, for a time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from app.ledger import tables
from app.ledger.engine import Ledger

Result = Literal["delivered", "transient", "permanent", "unknown", "unauthorized"]
BREAKER_FAILURES = 8
"""Transient failures in a row after which a destination is only probed."""
PROBE_SECONDS = (1, 2, 5, 10, 20, 30)
"""Pause before each further probe."""
CLOCK_TOLERANCE_MS = 500
"""started_at is by the worker's clock. What was in flight when the breaker opened began a second before the first probe."""
SLOW_CLAIM_SECONDS = 0.02
LONGEST_ERROR = 400
"""Characters of an attempt's error that stand on the delivery, by which failed ones are grouped; the attempt keeps all."""


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. due_at: when to try again (ms), None when the delivery is closed."""

    claimed: Claimed
    result: Result
    started_at: int
    duration_ms: int
    status: int | None = None
    error: str | None = None
    answer_headers: str | None = None
    answer_body: str | None = None
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class DestinationState:
    """A destination's brakes."""

    paused_at: int | None
    paused_reason: str | None
    paused_token: str | None
    failures: int
    probe_at: int | None
    rate_next_at: int

    @property
    def is_open(self) -> bool:
        """The breaker is open: only probes."""
        return self.failures >= BREAKER_FAILURES


def ensure_destination(ledger: Ledger, connection: Connection, name: str, token: str) -> None:
    """Makes the destination's row; a pause for a refused token ends when the token is another one. Idempotent."""
    ledger.run(connection, "INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
    ledger.run(
        connection,
        "UPDATE destinations SET paused_at = NULL, paused_reason = NULL, paused_token = NULL"
        " WHERE name = ? AND paused_token IS NOT NULL AND paused_token <> ?",
        name,
        token,
    )


def is_refused_for_another(ledger: Ledger, connection: Connection, name: str, token: str) -> bool:
    """Whether a destination is paused because it refused another token than this one."""
    statement = "SELECT 1 FROM destinations WHERE name = ? AND paused_token IS NOT NULL AND paused_token <> ?"
    return ledger.run(connection, statement, name, token).first() is not None


def destination_state(ledger: Ledger, connection: Connection, name: str) -> DestinationState:
    row = ledger.run(
        connection,
        "SELECT paused_at, paused_reason, paused_token, failures, probe_at, rate_next_at FROM destinations WHERE name = ?",
        name,
    ).first()
    return DestinationState(*row) if row else DestinationState(None, None, None, 0, None, 0)


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
        limit = 1 if _may_probe(ledger, connection, destination, state, now) else 0
    limit, rate_next_at = _within_rate(state, limit, now, rate)
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


def finish(
    ledger: Ledger, connection: Connection, destination: str, outcomes: Sequence[Outcome], *, now: int, token_print: str
) -> None:
    """Records outcomes, where their claim still stands, and what they say of the destination's health."""
    if not outcomes:
        return
    ledger.run_many(connection, _FINISH, [_closing(outcome, now) for outcome in outcomes])
    leads = [o.claimed.id for o in outcomes if o.claimed.kind == "lead" and o.due_at is None and o.claimed.attempts]
    let_go(ledger, connection, leads, now=now)
    rows = [
        (
            o.claimed.id,
            o.claimed.attempts + 1,
            o.result,
            int(o.claimed.by_hand),
            o.started_at,
            o.duration_ms,
            o.status,
            o.error,
            o.answer_headers,
            o.answer_body,
        )
        for o in outcomes
    ]
    ledger.insert(connection, tables.attempts, ATTEMPT, rows)
    _judge(ledger, connection, destination, outcomes, now, token_print)


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
_FINISH = (
    "UPDATE deliveries SET status = ?, due_at = ?, claim = NULL, claimed_until = NULL, attempts = attempts + ?, held = 0,"
    " last_error = ?, last_status = ?, delivered_at = ?, dead_at = ? WHERE id = ? AND claim = ?"
)
ATTEMPT = (
    "delivery_id",
    "number",
    "result",
    "by_hand",
    "started_at",
    "duration_ms",
    "status",
    "error",
    "answer_headers",
    "answer_body",
)


def _closing(outcome: Outcome, now: int) -> tuple[Any, ...]:
    claimed = outcome.claimed
    counted = 0 if outcome.result == "unauthorized" else 1
    if outcome.result == "delivered":
        status = "delivered"
    elif outcome.due_at is None:
        status = "dead"
    elif counted or claimed.attempts > claimed.schedule_start:
        status = "retrying"
    else:
        status = "pending"
    delivered_at = now if status == "delivered" else None
    dead_at = now if status == "dead" else None
    error = outcome.error[:LONGEST_ERROR] if outcome.error else outcome.error
    said = (error, outcome.status, delivered_at, dead_at)
    return (status, outcome.due_at, counted, *said, claimed.id, claimed.claim)


def _judge(
    ledger: Ledger, connection: Connection, destination: str, outcomes: Sequence[Outcome], now: int, token_print: str
) -> None:
    """What a batch of outcomes says of the destination: it refuses our token, it is ill, or it is well."""
    refused = next((o for o in outcomes if o.result == "unauthorized"), None)
    if refused is not None:
        ledger.run(
            connection,
            "UPDATE destinations SET paused_at = ?, paused_reason = ?, paused_token = ? WHERE name = ? AND paused_at IS NULL",
            now,
            f"the destination answered {refused.status}: check {_token_name(destination)}",
            token_print,
            destination,
        )
    ill = [o for o in outcomes if o.result in ("transient", "unknown") and o.status != 429]
    well = [o for o in outcomes if o.result in ("delivered", "permanent")]
    state = destination_state(ledger, connection, destination)
    if well and (state.failures or state.probe_at):
        ledger.run(connection, "UPDATE destinations SET failures = 0, probe_at = NULL WHERE name = ?", destination)
    elif ill and not well:
        if not state.is_open:
            failures = min(state.failures + len(ill), BREAKER_FAILURES)
        elif any(o.started_at > (state.probe_at or 0) - CLOCK_TOLERANCE_MS for o in ill):
            failures = state.failures + 1  # the probe failed
        else:
            return  # it was in flight already when the breaker opened, and says nothing new
        step = min(max(failures - BREAKER_FAILURES, 0), len(PROBE_SECONDS) - 1)
        probe_at = now + PROBE_SECONDS[step] * 1000 if failures >= BREAKER_FAILURES else None
        ledger.run(
            connection,
            "UPDATE destinations SET failures = ?, probe_at = ? WHERE name = ?",
            failures,
            probe_at,
            destination,
        )


def _token_name(destination: str) -> str:
    """Where that destination's token comes from, as people know it."""
    return "DESTINATION_TOKEN" if destination == "main" else f"the token of destination {destination}"


def _may_probe(ledger: Ledger, connection: Connection, destination: str, state: DestinationState, now: int) -> bool:
    if state.probe_at is not None and state.probe_at > now:
        return False
    flying = ledger.run(
        connection, "SELECT 1 FROM deliveries WHERE claim IS NOT NULL AND destination = ? LIMIT 1", destination
    ).first()
    return flying is None


def _within_rate(state: DestinationState, limit: int, now: int, rate: float | None) -> tuple[int, int]:
    """How many of `limit` the rate allows now, and from when the next may be reserved. A second's worth may be saved up."""
    if not rate:
        return limit, state.rate_next_at
    start = max(state.rate_next_at, now - 1000)
    return min(limit, int((now - start) * rate / 1000)), start
