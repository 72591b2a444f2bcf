"""What attempts came to, recorded where their claim still stands, and what that says of the destination's health."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import BREAKER_FAILURES, PROBE_SECONDS, destination_state
from app.ledger.forwarding.claims import Claimed, let_go

Result = Literal["delivered", "transient", "permanent", "unknown", "unauthorized"]
CLOCK_TOLERANCE_MS = 500
"""started_at is by the worker's clock. What was in flight when the breaker opened began a second before the first probe."""
LONGEST_ERROR = 400
"""Characters of an attempt's error that stand on the delivery, by which failed ones are grouped; the attempt keeps all."""


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
