"""The last answer of a destination that refused or failed. Read only, by index."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.forwarding.breaker import destination_state
from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class Standing:
    """Why a destination takes no deliveries. answer: the body of its last answer. Times are in ms."""

    is_paused_by_hand: bool
    is_doubted: bool
    recheck_at: int | None
    delivery_id: int | None = None
    status: int | None = None
    error: str | None = None
    answer: str | None = None


def standing(tx: Tx, name: str) -> Standing | None:
    """The standing of a destination; None if nothing is known to be wrong with it."""
    state = destination_state(tx, name)
    if state.paused_at is None and not state.is_open and not state.is_doubted:
        return None
    by_hand = state.paused_at is not None and state.paused_token is None
    known = Standing(by_hand, state.is_doubted, state.recheck_at if state.paused_token is not None else None)
    delivery = None if by_hand else _last_refused(tx, name, state.refusals.ids)
    if delivery is None:
        return known
    attempt = tx.run(
        "SELECT delivery_id, status, error, answer_body FROM attempts WHERE delivery_id = ? ORDER BY id DESC LIMIT 1",
        delivery,
    ).first()
    return known if attempt is None else Standing(by_hand, known.is_doubted, known.recheck_at, *attempt)


def _last_refused(tx: Tx, name: str, refused: Sequence[int]) -> int | None:
    if refused:
        return refused[-1]
    newest = "SELECT id FROM deliveries WHERE status = 'retrying' AND destination = ? ORDER BY id DESC LIMIT 1"
    delivery_id = tx.run(newest, name).scalar()
    return None if delivery_id is None else int(delivery_id)
