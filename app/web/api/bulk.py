"""Replays, discards and undoes all that match a filter.

A request answers after some seconds at most. If that was not enough, send the same body again with `next` from the answer.
"""

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from app.ledger.actions import bulk, replay, resend
from app.ledger.actions.bulk import Job
from app.web.api.actor import actor
from app.web.api.routes import Routes
from app.web.api.schemas import Discarded, Replayed, Undone
from app.web.lists.acts import ResendWindow
from app.web.params import DeliveryFilter, Number, OneOf, Pattern, Request
from app.web.services import Parts, target_of

ROUTES = Routes()
PATIENCE_SECONDS = 10.0
Mark = Annotated[str, Pattern(replay.MARK.pattern, "must be what POST discard answered")]


class Continued(Request):
    next: Annotated[Number | None, Field(description="`next` of the last answer, unless that was null.")] = None


class ReplayFilter(DeliveryFilter, Continued):
    hint: ClassVar[str] = f'one of {", ".join(replay.REPLAYABLE)}, such as {{"status": "dead"}}'
    status: Annotated[str, OneOf(replay.REPLAYABLE)]  # an empty filter counts as none


class DiscardFilter(DeliveryFilter, Continued):
    hint: ClassVar[str] = f'one of {", ".join(replay.DISCARDABLE)}, such as {{"status": "dead"}}'
    status: Annotated[str, OneOf(replay.DISCARDABLE)]
    mark: Annotated[Mark | None, Field(description="`mark` of the first answer, so that one undo takes back all.")] = (
        None
    )


class ResendBody(ResendWindow, Continued):
    """A window, and where to continue."""


class UndoneDiscard(Continued):
    hint: ClassVar[str] = "send the mark that POST discard answered"
    mark: Mark


@ROUTES.post("/replay")
def replay_deliveries(parts: Parts, body: ReplayFilter) -> Replayed:
    """Replay all deliveries that match."""
    job = _run(parts, Job("replay", body.as_filter(), after=body.next))
    return Replayed(replayed=job.done, left_alone=job.skipped, next=job.after)


@ROUTES.post("/discard")
def discard_deliveries(parts: Parts, body: DiscardFilter) -> Discarded:
    """Discard all deliveries that match."""
    job = _run(parts, Job("discard", body.as_filter(), mark=body.mark or "", after=body.next))
    return Discarded(discarded=job.done, left_alone=job.skipped, next=job.after, mark=job.mark)


@ROUTES.post("/undo")
def undo_deliveries(parts: Parts, body: UndoneDiscard) -> Undone:
    """Undo a bulk discard."""
    job = _run(parts, Job("undo", mark=body.mark, after=body.next))
    return Undone(undone=job.done, left_alone=job.skipped, next=job.after)


@ROUTES.post("/resend", 404)
def resend_deliveries(parts: Parts, body: ResendBody) -> Replayed:
    """Resend the deliveries of a window, or send that window to another destination."""
    window = replace(body.as_window(), target=target_of(parts, body.to) if body.to else None)
    with parts.ledger.read() as tx:
        window = resend.until_now(tx, window)
    progress = resend.run(parts.ledger, window, parts.sources, actor=actor(), after=body.next, seconds=PATIENCE_SECONDS)
    parts.nudge()
    return Replayed(replayed=progress.done, left_alone=progress.skipped, next=progress.after)


def _run(parts: Parts, job: Job) -> Job:
    job = bulk.run(parts.ledger, job, parts.sources, actor=actor(), seconds=PATIENCE_SECONDS)
    if job.verb != "discard":
        parts.nudge()
    return job
