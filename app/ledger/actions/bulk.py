"""Replaying, discarding and taking back many deliveries, a batch to a transaction.

A page runs one batch per request, so closing it stops the work between two. The API runs as many as a request has time for, the
command line all of them. What was done stays done if the work is interrupted, and repeating a batch is harmless.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.ledger.actions.replay import apply_to, marked, new_mark, undo_discard
from app.ledger.engine import Ledger
from app.ledger.reading import deliveries
from app.ledger.reading.filters import Filter
from app.ledger.transaction import Tx

Verb = Literal["replay", "discard", "undo"]
BULK = 500
"""Deliveries in a batch."""


@dataclass(frozen=True, slots=True)
class Job:
    """Which deliveries, what to do with them, and how far it came.

    wanted: all that match, newest first; or `ids`, at most BULK of them. An undo takes back what the discard `mark` discarded.
    after: where the next batch goes on, in the order of the job; None before the first one and, with is_over, at the end.
    """

    verb: Verb
    wanted: Filter | None = None
    ids: Sequence[int] = ()
    mark: str = ""
    after: int | None = None
    done: int = 0
    skipped: int = 0
    """Being sent just now, or in another status by now."""
    is_over: bool = False


def step(tx: Tx, job: Job, sources: Iterable[str], *, actor: str) -> Job:
    """One batch; the job as it stands then."""
    if job.verb == "undo":
        lines = marked(tx, job.mark, after=job.after or 0, limit=BULK)
        done = sum(undo_discard(tx, delivery, actor=actor).done for _, delivery in lines)
        return _moved(job, done, len(lines), lines[-1][0] if len(lines) == BULK else None)
    mark = job.mark or (new_mark(tx) if job.verb == "discard" else "")
    ids, after = list(job.ids), None
    if job.wanted is not None:
        tx.plan_by_value()
        ids, after = deliveries.ids(tx, job.wanted, sources, before=job.after, limit=BULK)
    done = len(apply_to(tx, ids, job.verb, actor=actor, mark=mark))
    return _moved(replace(job, mark=mark), done, len(ids), after)


def run(ledger: Ledger, job: Job, sources: Iterable[str], *, actor: str, seconds: float = math.inf) -> Job:
    """Runs batches until the job is over or `seconds` have passed, but at least one. Other requests are served between two."""
    until, names = time.monotonic() + seconds, list(sources)
    while True:
        job = ledger.transact(lambda tx, job=job: step(tx, job, names, actor=actor))  # type: ignore[misc]
        if job.is_over or time.monotonic() > until:
            return job


def _moved(job: Job, done: int, chosen: int, after: int | None) -> Job:
    skipped = job.skipped + chosen - done
    return replace(job, done=job.done + done, skipped=skipped, after=after, is_over=after is None)
