"""Resends the deliveries of a window of time, or sends that window to another destination, one batch per transaction.

A page runs one batch per request, the API as many as a request has time for, the command line all of them.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.ledger.actions import bulk
from app.ledger.actions.bulk import Job
from app.ledger.actions.send_to import Selection, Sending, Target, count_selected, send_batch
from app.ledger.engine import Ledger
from app.ledger.reading import deliveries
from app.ledger.reading.filters import Filter
from app.ledger.reading.money.stake import NOTHING, Stake
from app.ledger.reading.money.summed import summed
from app.ledger.transaction import Tx

MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Window:
    """The deliveries to resend. since, until: ms; when they were delivered or, with `target`, recorded. destination: where they
    went. target: another destination to send them to, unless they were sent there already."""

    since: int
    until: int | None = None
    destination: str | None = None
    kind: str | None = None
    source: str | None = None
    target: Target | None = None

    @property
    def criteria(self) -> Filter:
        return Filter(
            ("delivered",),
            self.source,
            self.kind,
            self.destination,
            delivered_since=self.since,
            delivered_until=self.until,
        )

    @property
    def selection(self) -> Selection:
        return Selection(self.since, self.until, self.kind, self.source)


@dataclass(frozen=True, slots=True)
class Progress:
    """after: where the next batch continues, None before the first and at the end. mark: names the work, once it has begun."""

    after: int | None = None
    mark: str = ""
    done: int = 0
    skipped: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a window holds. is_all: False if there may be more."""

    count: int
    is_all: bool
    summed: dict[str, Any]
    stake: Stake = NOTHING


def preview(tx: Tx, window: Window, sources: Iterable[str]) -> Preview:
    """Counts what would be sent. With a target, all conversions of the window, whether it has them already or not."""
    if window.target is not None:
        count, kinds = count_selected(tx, window.selection, MOST_COUNTED)
        parts: dict[str, Any] = {"kinds": kinds, "destinations": {window.target.route.name: count}, "first": []}
        return Preview(count, count < MOST_COUNTED, parts)
    names = list(sources)
    count, is_all = deliveries.count(tx, window.criteria, names)
    return Preview(count, is_all, *summed(tx, window.criteria, names))


def step(tx: Tx, window: Window, progress: Progress, sources: Iterable[str], *, actor: str) -> Progress:
    """Resends the next batch. A resent delivery is pending again, so the next batch does not find it."""
    if window.target is not None:
        group = int(progress.mark) if progress.mark.isdecimal() else None
        sending = Sending(progress.after, group)
        sending = send_batch(tx, window.selection, window.target, sending, actor=actor)
        sent = sum(result.done for result in sending.results)
        return Progress(
            None if sending.is_over else sending.after,
            str(sending.group or ""),
            progress.done + sent,
            progress.skipped + len(sending.results) - sent,
            sending.is_over,
        )
    job = Job("resend", window.criteria, mark=progress.mark, after=progress.after)
    job = bulk.step(tx, job, sources, actor=actor)
    done, skipped = progress.done + job.done, progress.skipped + job.skipped
    return Progress(job.after, job.mark, done, skipped, job.is_over)


def run(
    ledger: Ledger,
    window: Window,
    sources: Iterable[str],
    *,
    actor: str,
    after: int | None = None,
    seconds: float = math.inf,
) -> Progress:
    """Runs batches until all is sent or `seconds` have passed, but at least one."""
    limit, names, progress = time.monotonic() + seconds, list(sources), Progress(after)
    while True:
        work = partial(step, window=window, progress=progress, sources=names, actor=actor)
        progress = ledger.transact(work)
        if progress.is_over or time.monotonic() > limit:
            return progress


def until_now(tx: Tx, window: Window) -> Window:
    """The window with an end that is not in the future: what a preview did not count, or an earlier batch sent, stays out."""
    now = tx.now()
    return replace(window, until=now if window.until is None else min(window.until, now))
