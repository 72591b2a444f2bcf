"""Replaying, discarding and taking back all that match a filter.

An answer comes after some seconds at most. Where that was not enough, `next` says where to go on: send the same body with it.
"""

import time
from typing import Any

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import UnprocessableEntity

from app.ledger.actions import replay
from app.ledger.reading import deliveries, filters
from app.ledger.transaction import Tx
from app.web.api.answers import ACTOR
from app.web.params import FILTER, filter_of, json_object, only, whole_in
from app.web.services import Parts

PATIENCE_SECONDS = 10.0


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.post("/replay")
    def replay_filter() -> Response:
        only()
        wanted, after, _ = asked(replay.REPLAYABLE)
        done, left, after = run(parts, wanted, "replay", after, mark="")
        parts.nudge()
        return jsonify(replayed=done, left_alone=left, next=after)

    @blueprint.post("/discard")
    def discard_filter() -> Response:
        only()
        wanted, after, mark = asked(replay.DISCARDABLE)
        if mark is None:
            with ledger.read() as tx:
                mark = replay.new_mark(tx)
        done, left, after = run(parts, wanted, "discard", after, mark=mark)
        return jsonify(discarded=done, left_alone=left, next=after, mark=mark)

    @blueprint.post("/undo")
    def undo_filter() -> Response:
        only()
        given = json_object("mark", "next")
        mark, after = mark_in(given), next_in(given)
        if mark is None:
            raise UnprocessableEntity("send the mark that POST discard answered")
        done, left, until = 0, 0, time.monotonic() + PATIENCE_SECONDS
        while True:

            def batch(tx: Tx, after: int = after or 0) -> tuple[list[bool], int | None]:
                lines = replay.marked(tx, mark, after=after, limit=replay.BULK)
                result = [replay.undo_discard(tx, one, actor=ACTOR).done for _, one in lines]
                return result, lines[-1][0] if len(lines) == replay.BULK else None

            result, after = ledger.transact(batch)
            done, left = done + sum(result), left + len(result) - sum(result)
            if after is None or time.monotonic() > until:
                parts.nudge()
                return jsonify(undone=done, left_alone=left, next=after)


def asked(statuses: tuple[str, ...]) -> tuple[filters.Filter, int | None, str | None]:
    """The filter of the body (which must name a status, so that none means nothing), where to go on, and the mark."""
    given = json_object(*FILTER, "next", *(["mark"] if statuses is replay.DISCARDABLE else []))
    if given.get("status") not in statuses:
        raise UnprocessableEntity(f'status must be one of {", ".join(statuses)}, such as {{"status": "dead"}}')
    return filter_of(given, statuses), next_in(given), mark_in(given)


def run(
    parts: Parts, wanted: filters.Filter, verb: replay.Verb, after: int | None, *, mark: str
) -> tuple[int, int, int | None]:
    """(done, skipped, where to go on): batch after batch, newest first, each a transaction, for as long as a request may take.

    What the first batch finds is below its own newest delivery, so nothing is taken twice.
    """
    ledger, done, left, until = parts.ledger, 0, 0, time.monotonic() + PATIENCE_SECONDS
    while True:

        def batch(tx: Tx, before: int | None = after) -> tuple[int, int, int | None]:
            tx.plan_by_value()
            ids, following = deliveries.ids(tx, wanted, parts.sources, before=before, limit=replay.BULK)
            count = len(replay.apply_to(tx, ids, verb, actor=ACTOR, mark=mark))
            return count, len(ids) - count, following

        count, alone, after = ledger.transact(batch)
        done, left = done + count, left + alone
        if after is None or time.monotonic() > until:
            return done, left, after


def next_in(given: dict[str, Any]) -> int | None:
    return whole_in(given, "next", 1, 2**62 - 1)


def mark_in(given: dict[str, Any]) -> str | None:
    value = given.get("mark")
    if value is not None and not (isinstance(value, str) and replay.MARK.fullmatch(value)):
        raise UnprocessableEntity("mark must be what POST discard answered")
    return value
