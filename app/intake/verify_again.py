"""Verifies requests in the quarantine against the current secrets, and accepts those that are authentic now.

The age of a signature is judged at the time when the bridge received it, so an old request that somebody replays is as little
accepted as it was then. What is accepted goes the same way as a webhook that has just come.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.errors import SourceError, UnknownSource
from app.intake.quarantine import Sealer
from app.intake.verify_and_map import Intake
from app.ledger.audit import note
from app.ledger.engine import Ledger, look
from app.ledger.inbound.quarantine import (
    Held,
    Selection,
    chosen,
    drop,
    note_problems,
    one_held,
    remove_taken,
)
from app.ledger.transaction import Tx
from app.text import storable

BATCH = 50
NOT_CONFIGURED = "the source is not configured"


@dataclass(slots=True)
class Verified:
    """What came of it. outcomes: of the requests that were taken in. problems: why others stay, by ID. after: where to go on;
    None at the end."""

    outcomes: Counter[str] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)
    after: int | None = None

    @property
    def taken(self) -> int:
        return sum(self.outcomes.values())

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.taken and not self.problems:
            return "Nothing is in the quarantine"
        named = ", ".join(f"{count:,} {name}" for name, count in sorted(self.outcomes.items()))
        text = f"{self.taken:,} accepted{f' ({named})' if named else ''}, {len(self.problems):,} refused again"
        return f"{text}. Time ran out: verify again for the rest" if self.after is not None else text


def verify_again(
    ledger: Ledger,
    intake: Intake,
    sealer: Sealer,
    selection: Selection,
    *,
    actor: str,
    after: int = 0,
    seconds: float = 1e9,
) -> Verified:
    """Records the requests that are authentic now, oldest first. The rest stay, with the reason. Safe to repeat. Raises
    LedgerUnavailable.

    Stops between two batches once `seconds` have passed. Recorded in the audit log.
    """
    until, done = time.monotonic() + seconds, Verified(after=after)
    try:
        while done.after is not None:
            with look(ledger) as tx:
                batch = chosen(tx, selection, after=done.after, limit=BATCH)
            for held in batch:
                _verify(ledger, intake, sealer, held, done)
            done.after = batch[-1].id if len(batch) == BATCH else None
            if time.monotonic() > until:
                break
    finally:
        if done.taken or done.problems:
            ledger.transact(lambda tx: _record(tx, actor, selection, done))
    return done


def drop_held(ledger: Ledger, selection: Selection, *, actor: str) -> int:
    """Removes requests from the quarantine for good; returns how many. Recorded in the audit log."""

    def work(tx: Tx) -> int:
        count = drop(tx, selection)
        if count:
            note(tx, actor, "drop", _subject(selection), f"{count:,} {'request' if count == 1 else 'requests'}")
        return count

    return ledger.transact(work)


def _record(tx: Tx, actor: str, selection: Selection, done: Verified) -> None:
    note_problems(tx, done.problems)
    note(tx, actor, "verify again", _subject(selection), done.sentence)


def _subject(selection: Selection) -> str:
    return f"quarantine of {selection.source}" if selection.source else "quarantine"


def _verify(ledger: Ledger, intake: Intake, sealer: Sealer, held: Held, done: Verified) -> None:
    with look(ledger) as tx:
        kept = one_held(tx, held.id)
    if kept is None:  # a repeat of one that was taken in, or dropped meanwhile
        return
    content = kept[1]
    try:
        if not sealer.knows(held.source):
            raise UnknownSource(NOT_CONFIGURED, source=held.source)
        inbound, token = sealer.reopen(held, content)
        came_at = datetime.fromtimestamp(held.received_at / 1000, UTC)
        receipt = intake.take(held.source, inbound, token, datetime.now(UTC), came_at=came_at)
    except SourceError as error:
        done.problems[held.id] = storable(str(error))
        return
    ledger.transact(lambda tx: remove_taken(tx, held.source, [content.body_digest]))
    done.outcomes[receipt.outcome] += 1
