"""Pauses and resumes a destination for a page, the API or the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import DestinationNotFound
from app.ledger.engine import Ledger
from app.ledger.forwarding import breaker
from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class PauseResult:
    """done: False if the destination was already in that state."""

    name: str
    done: bool
    message: str


def pause_destination(ledger: Ledger, name: str, known: Sequence[str], reason: str, *, actor: str) -> PauseResult:
    """Stops forwarding to a destination: requests in flight finish, due deliveries wait. Idempotent.

    known: the configured destinations. A destination that only the ledger knows counts as well. Raises DestinationNotFound.
    """

    def work(tx: Tx) -> PauseResult:
        _check(tx, name, known)
        done = breaker.pause(tx, name, reason, actor=actor)
        return PauseResult(name, done, f"Paused {name}" if done else f"Forwarding to {name} is already paused")

    return ledger.transact(work)


def resume_destination(ledger: Ledger, name: str, known: Sequence[str], *, actor: str) -> PauseResult:
    """Ends a pause of any kind. Idempotent. Raises DestinationNotFound."""

    def work(tx: Tx) -> PauseResult:
        _check(tx, name, known)
        done = breaker.resume(tx, name, actor=actor)
        resumed = f"Resumed {name}: the next delivery shows whether it is accepted"
        return PauseResult(name, done, resumed if done else f"Forwarding to {name} is not paused")

    return ledger.transact(work)


def _check(tx: Tx, name: str, known: Sequence[str]) -> None:
    if name not in known and tx.run("SELECT 1 FROM destinations WHERE name = ?", name).first() is None:
        raise DestinationNotFound(name, known)
