"""Pausing and resuming a destination, as people ask for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import DestinationNotFound
from app.ledger.engine import Ledger
from app.ledger.forwarding import breaker
from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class PauseResult:
    """done: False where the destination was in that state already."""

    name: str
    done: bool
    message: str


def pause_destination(ledger: Ledger, name: str, known: Sequence[str], reason: str, *, actor: str) -> PauseResult:
    """Stops forwarding to a destination: requests in flight end, what is due waits. Idempotent.

    known: the configured destinations; one that the ledger knows from before counts as well. Raises DestinationNotFound.
    """

    def work(tx: Tx) -> PauseResult:
        _check(tx, name, known)
        done = breaker.pause(tx, name, reason, actor=actor)
        return PauseResult(name, done, f"Paused {name}" if done else f"Forwarding to {name} is already paused")

    return ledger.transact(work)


def resume_destination(ledger: Ledger, name: str, known: Sequence[str], *, actor: str) -> PauseResult:
    """Ends a pause, no matter who began it. Idempotent. Raises DestinationNotFound."""

    def work(tx: Tx) -> PauseResult:
        _check(tx, name, known)
        done = breaker.resume(tx, name, actor=actor)
        resumed = f"Resumed {name}: the next delivery shows whether it is accepted"
        return PauseResult(name, done, resumed if done else f"Forwarding to {name} is not paused")

    return ledger.transact(work)


def _check(tx: Tx, name: str, known: Sequence[str]) -> None:
    if name not in known and tx.run("SELECT 1 FROM destinations WHERE name = ?", name).first() is None:
        raise DestinationNotFound(name, known)
