"""Replaying, discarding and taking back all that match a filter.

An answer comes after some seconds at most. Where that was not enough, `next` says where to go on: send the same body with it.
"""

from typing import Any

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import UnprocessableEntity

from app.ledger.actions import bulk, replay
from app.ledger.actions.bulk import Job
from app.ledger.reading import filters
from app.web.api.answers import ACTOR
from app.web.params import FILTER, filter_of, json_object, only, whole_in
from app.web.services import Parts

PATIENCE_SECONDS = 10.0


def register(blueprint: Blueprint, parts: Parts) -> None:
    def run(job: Job) -> Job:
        job = bulk.run(parts.ledger, job, parts.sources, actor=ACTOR, seconds=PATIENCE_SECONDS)
        if job.verb != "discard":
            parts.nudge()
        return job

    @blueprint.post("/replay")
    def replay_filter() -> Response:
        only()
        wanted, after, _ = asked(replay.REPLAYABLE)
        job = run(Job("replay", wanted, after=after))
        return jsonify(replayed=job.done, left_alone=job.skipped, next=job.after)

    @blueprint.post("/discard")
    def discard_filter() -> Response:
        only()
        wanted, after, mark = asked(replay.DISCARDABLE)
        job = run(Job("discard", wanted, mark=mark or "", after=after))
        return jsonify(discarded=job.done, left_alone=job.skipped, next=job.after, mark=job.mark)

    @blueprint.post("/undo")
    def undo_filter() -> Response:
        only()
        given = json_object("mark", "next")
        mark, after = mark_in(given), next_in(given)
        if mark is None:
            raise UnprocessableEntity("send the mark that POST discard answered")
        job = run(Job("undo", mark=mark, after=after))
        return jsonify(undone=job.done, left_alone=job.skipped, next=job.after)


def asked(statuses: tuple[str, ...]) -> tuple[filters.Filter, int | None, str | None]:
    """The filter of the body (which must name a status, so that none means nothing), where to go on, and the mark."""
    given = json_object(*FILTER, "next", *(["mark"] if statuses is replay.DISCARDABLE else []))
    if given.get("status") not in statuses:
        raise UnprocessableEntity(f'status must be one of {", ".join(statuses)}, such as {{"status": "dead"}}')
    return filter_of(given, statuses), next_in(given), mark_in(given)


def next_in(given: dict[str, Any]) -> int | None:
    return whole_in(given, "next", 1, 2**62 - 1)


def mark_in(given: dict[str, Any]) -> str | None:
    value = given.get("mark")
    if value is not None and not (isinstance(value, str) and replay.MARK.fullmatch(value)):
        raise UnprocessableEntity("mark must be what POST discard answered")
    return value
