"""A worker's turn at one destination: what came of its attempts is recorded, and as much as it wants is claimed.

All of it in one transaction and few round trips: the clock; outcomes, the lock and the state; the claim; the end.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.ledger.forwarding.breaker import STATE, destination_state, state_of
from app.ledger.forwarding.claims import Claimed, Wish, claim_locked, drop_claims, lock_claims, return_unsent
from app.ledger.forwarding.judging import REFUSED, judge, settle
from app.ledger.forwarding.outcomes import Outcome, write_outcomes
from app.ledger.transaction import Tx

CLOCK_TOLERANCE_MS = 200


@dataclass(frozen=True, slots=True)
class Turn:
    """What a worker brings. unsent: claims under which nothing was sent. doubtful: tokens that the ledger may or may not have,
    with nothing sent under them. wish: None if no sender is free."""

    destination: str
    token_print: str
    outcomes: Sequence[Outcome] = ()
    unsent: Sequence[Claimed] = ()
    doubtful: Sequence[str] = ()
    wish: Wish | None = None


def take_turn(tx: Tx, turn: Turn) -> tuple[Sequence[Outcome], list[Claimed]]:
    """Records what `turn` brings where its claims still stand, and claims. Returns the outcomes as they were recorded, and what is
    claimed now. Idempotent but for the claim.

    From the lock on no other worker judges or claims for this destination, so what is read of it then still holds.
    """
    name = turn.destination
    with tx.pipeline():
        tx.plan_by_index()
        clock = tx.later_now()
    now = clock()
    outcomes = by_clock(turn.outcomes, now)
    if any(o.result in REFUSED for o in outcomes):
        outcomes = settle(tx, destination_state(tx, name), outcomes, now=now, token_print=turn.token_print)
    with tx.pipeline():
        write_outcomes(tx, outcomes, now)
        return_unsent(tx, turn.unsent)
        drop_claims(tx, turn.doubtful)
        lock_claims(tx, name)
        row = tx.later(STATE, name)
    state = state_of(row())
    if outcomes:
        judge(tx, name, state, outcomes, now=now, token_print=turn.token_print)
        if not state.is_plain or any(o.result != "delivered" for o in outcomes):
            state = destination_state(tx, name)
    return outcomes, claim_locked(tx, name, state, turn.wish, now=now) if turn.wish else []


def by_clock(outcomes: Sequence[Outcome], now: int) -> Sequence[Outcome]:
    """`outcomes` with their times, which are of this machine's clock, by the database's, which says `now`."""
    ahead = now - int(time.time() * 1000)
    if abs(ahead) < CLOCK_TOLERANCE_MS:
        return outcomes
    return [
        replace(o, started_at=o.started_at + ahead, due_at=None if o.due_at is None else o.due_at + ahead)
        for o in outcomes
    ]
