"""Records the outcomes of attempts whose claim is still held, and what they say about the destination's health."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ledger import tables
from app.ledger.forwarding.breaker import destination_state
from app.ledger.forwarding.claims import Claimed, unblock_sales
from app.ledger.forwarding.judging import REFUSED, judge, settle
from app.ledger.forwarding.refunds import follow_sales, remember
from app.ledger.transaction import Tx
from app.model import AttemptResult

LONGEST_ERROR = 400
"""Characters of an attempt's error that stand on the delivery, by which failed ones are grouped; the attempt keeps all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt. due_at: when to retry (ms), None if the delivery is closed."""

    claimed: Claimed
    result: AttemptResult
    started_at: int
    duration_ms: int
    status: int | None = None
    error: str | None = None
    answer_headers: str | None = None
    answer_body: str | None = None
    due_at: int | None = None
    note: str | None = None
    """What else the answer means, for people."""
    remember: str | None = None
    """What its format is to remember of the Sale that a refund belongs to; "" forgets it."""


def finish(tx: Tx, destination: str, outcomes: Sequence[Outcome], *, now: int, token_print: str) -> list[Outcome]:
    """Records outcomes whose claim is still held, and what they say about the destination's health. Returns them as recorded: a
    refused one waits, or is dead because only it was rejected."""
    if not outcomes:
        return []
    state = destination_state(tx, destination)
    outcomes = settle(tx, state, outcomes, now=now, token_print=token_print)
    write_outcomes(tx, outcomes, now)
    judge(tx, destination, state, outcomes, now=now, token_print=token_print)
    return outcomes


def write_outcomes(tx: Tx, outcomes: Sequence[Outcome], now: int) -> None:
    """Records settled outcomes. Reads nothing, so it may run in a pipeline."""
    if not outcomes:
        return
    remember(tx, [(o.claimed, o.remember) for o in outcomes if o.remember is not None])
    tx.run_given(_FINISH, _CLOSING, [_closing(outcome, now) for outcome in outcomes])
    follow_sales(tx, [(o.claimed.id, o.due_at) for o in outcomes if o.claimed.kind == "sale" and _kept_waiting(o)], now)
    leads = [o.claimed.id for o in outcomes if o.claimed.kind == "lead" and o.due_at is None and _kept_waiting(o)]
    unblock_sales(tx, leads, now=now)
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
    tx.insert(tables.attempts, ATTEMPT, rows)


def _kept_waiting(outcome: Outcome) -> bool:
    """Whether something of its person may have been set aside for it: not where its first attempt was taken."""
    return bool(outcome.claimed.attempts) or outcome.result != "delivered"


_CLOSING = (
    ("status", "text"),
    ("due_at", "bigint"),
    ("counted", "integer"),
    ("last_error", "text"),
    ("last_status", "integer"),
    ("delivered_at", "bigint"),
    ("dead_at", "bigint"),
    ("note", "text"),
    ("id", "bigint"),
    ("claim", "text"),
)
_FINISH = (
    "UPDATE deliveries SET status = given.status, due_at = given.due_at, claim = NULL, claimed_until = NULL,"
    " attempts = attempts + given.counted, held = 0, last_error = given.last_error, last_status = given.last_status,"
    " delivered_at = given.delivered_at, dead_at = given.dead_at, note = given.note"
    " FROM given WHERE deliveries.id = given.id AND deliveries.claim = given.claim"
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
    counted = 0 if outcome.result in (*REFUSED, "continued") else 1
    if outcome.result == "delivered":
        status = "delivered"
    elif outcome.result == "unattributed":
        status = "unattributed"
    elif outcome.due_at is None:
        status = "dead"
    elif counted or claimed.attempts > claimed.schedule_start:
        status = "retrying"
    else:
        status = "pending"
    delivered_at = now if status == "delivered" else None
    dead_at = now if status == "dead" else None
    error = outcome.error[:LONGEST_ERROR] if outcome.error else outcome.error
    facts = (error, outcome.status, delivered_at, dead_at, outcome.note)
    return (status, outcome.due_at, counted, *facts, claimed.id, claimed.claim)
