"""Replays, discards and undoes many deliveries, one batch per transaction.

A page runs one batch per request, so closing it stops the work between two. The API runs as many as a request has time for, the
command line all of them. What was done stays done if the work is interrupted, and repeating a batch is harmless.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from app.ledger.actions.replay import apply_to, marked, new_mark, undo_discard
from app.ledger.audit import begin_group, close_batch, group_of, is_group, last_group
from app.ledger.engine import Ledger
from app.ledger.reading import deliveries
from app.ledger.reading.filters import Filter
from app.ledger.reading.where import as_of_now
from app.ledger.transaction import Tx

Verb = Literal["replay", "discard", "undo", "resend"]
UNDO = "undo discard"
BULK = 500
"""Deliveries per batch."""


@dataclass(frozen=True, slots=True)
class Job:
    """Which deliveries, what to do with them, and the progress.

    criteria: all that match, newest first, and matched at its `as_of` (or when the job began); None: `ids`, at most BULK.
    mark: names the job from its first batch on; an undo reverts the discard of that name. A resend is of what was delivered.
    after: where the next batch continues, in the order of the job; None before the first batch and, with is_over, at the end.
    """

    verb: Verb
    criteria: Filter | None = None
    ids: Sequence[int] = ()
    mark: str = ""
    after: int | None = None
    done: int = 0
    skipped: int = 0
    """Being sent, or their status changed."""
    is_over: bool = False


def step(tx: Tx, job: Job, sources: Iterable[str], *, actor: str) -> Job:
    """Runs one batch and returns the job with its progress."""
    verb = job.verb
    if verb == "undo":
        group = _undo_group(tx, job, actor)
        lines = marked(tx, job.mark, after=job.after or 0, limit=BULK)
        done = sum(undo_discard(tx, delivery, actor=actor, group=group).done for _, delivery in lines)
        close_batch(tx, group, done)
        return _moved(job, done, len(lines), lines[-1][0] if len(lines) == BULK else None)
    job = _named(tx, job, actor)
    group = group_of(job.mark)
    ids, after = list(job.ids), None
    if (criteria := job.criteria) is not None:
        if criteria.as_of is None and verb != "resend":  # whose window has an end
            criteria = replace(criteria, as_of=as_of_now(tx))
            job = replace(job, criteria=criteria)
        tx.plan_by_value()
        ids, after = deliveries.ids(tx, criteria, sources, before=job.after, limit=BULK)
    mark = job.mark if verb == "discard" else ""
    done = len(apply_to(tx, ids, verb, actor=actor, mark=mark, group=group))
    close_batch(tx, group, done)
    return _moved(job, done, len(ids), after)


def _named(tx: Tx, job: Job, actor: str) -> Job:
    """The job with the mark of its group in the audit log, which begins with its first batch."""
    action = "discard" if job.verb == "discard" else "replay"
    if job.mark and is_group(tx, group_of(job.mark), actor, action):
        return job
    asked = job.criteria.in_words() if job.criteria is not None else "selected"
    return replace(job, mark=new_mark(begin_group(tx, actor, action, asked)))


def _undo_group(tx: Tx, job: Job, actor: str) -> int:
    begun = None if job.after is None else last_group(tx, actor, UNDO)
    return begun or begin_group(tx, actor, UNDO)


def run(ledger: Ledger, job: Job, sources: Iterable[str], *, actor: str, seconds: float = math.inf) -> Job:
    """Runs batches until the job is over or `seconds` have passed, but at least one. Other requests are served between two."""
    until, names = time.monotonic() + seconds, list(sources)
    while True:
        job = ledger.transact(partial(step, job=job, sources=names, actor=actor))
        if job.is_over or time.monotonic() > until:
            return job


def _moved(job: Job, done: int, chosen: int, after: int | None) -> Job:
    skipped = job.skipped + chosen - done
    return replace(job, done=job.done + done, skipped=skipped, after=after, is_over=after is None)
