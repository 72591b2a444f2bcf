"""/api/v1: the same verbs as the pages, for programs."""

import re
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound, UnprocessableEntity

from app.ledger import queries
from app.ledger.engine import Ledger
from app.ledger.mending import discard, replay, replay_all
from app.ledger.reading import look
from app.model import OUTCOMES, STATUSES
from app.times import read_since
from app.web.auth import check_bearer
from app.web.openapi import document

ACTOR = "api"
LARGEST_PAGE = 500
SOURCE_NAME = r"[a-z0-9_-]{1,100}"


def create_blueprint(ledger: Ledger, token: str | None, nudge: Callable[[], None]) -> Blueprint:
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

    @blueprint.before_request
    def authorize() -> None:
        check_bearer(token)

    @blueprint.get("/events")
    def events() -> Response:
        outcome, before, limit = one_of("outcome", OUTCOMES), number("before"), page_size()
        with look(ledger) as connection:
            page = queries.events(ledger, connection, outcome=outcome, before=before, limit=limit)
        return jsonify(events=page, next_before=page[-1]["id"] if len(page) == limit else None)

    @blueprint.get("/events/<path:event_id>")
    def event(event_id: str) -> Response:
        with look(ledger) as connection:
            found = queries.event(ledger, connection, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}")
        return jsonify(found)

    @blueprint.get("/deliveries")
    def deliveries() -> Response:
        status, before, limit = one_of("status", STATUSES), number("before"), page_size()
        with look(ledger) as connection:
            page = queries.deliveries(ledger, connection, status=status, before=before, limit=limit)
        return jsonify(deliveries=page, next_before=page[-1]["id"] if len(page) == limit else None)

    @blueprint.get("/deliveries/<int:delivery_id>")
    def delivery(delivery_id: int) -> Response:
        with look(ledger) as connection:
            return jsonify(queries.delivery(ledger, connection, delivery_id))

    @blueprint.post("/deliveries/<int:delivery_id>/replay")
    def replay_one(delivery_id: int) -> Response:
        force = request.args.get("force") in ("1", "true")
        mended = ledger.transact(lambda c: replay(ledger, c, delivery_id, actor=ACTOR, force=force))
        nudge()
        return told(mended)

    @blueprint.post("/deliveries/<int:delivery_id>/discard")
    def discard_one(delivery_id: int) -> Response:
        return told(ledger.transact(lambda c: discard(ledger, c, delivery_id, actor=ACTOR)))

    @blueprint.post("/replay")
    def replay_filter() -> Response:
        body = request.get_json(silent=True)
        if not isinstance(body, dict) or not body:
            raise UnprocessableEntity('send a filter, such as {"status": "dead"}')
        unknown = set(body) - {"status", "source", "since"}
        if unknown:
            raise UnprocessableEntity(
                f"unknown in a filter: {', '.join(sorted(unknown))}; known are status, source, since"
            )
        if body.get("status") not in ("dead", "discarded", "retrying", "pending"):
            raise UnprocessableEntity("status must be dead, discarded, retrying or pending")
        source, since = body.get("source"), body.get("since")
        if source is not None and not (isinstance(source, str) and re.fullmatch(SOURCE_NAME, source)):
            raise UnprocessableEntity("source must be a source's name")
        try:
            since_ms = read_since(since) if since is not None else None
        except ValueError as error:
            raise UnprocessableEntity(f"since: {error}") from None
        mended = replay_all(ledger, status=body["status"], source=source, since=since_ms, actor=ACTOR)
        nudge()
        return jsonify(replayed=sum(m.done for m in mended), left_alone=sum(not m.done for m in mended))

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document())

    @blueprint.get("/stats")
    def stats() -> Response:
        with look(ledger) as connection:
            return jsonify(queries.stats(ledger, connection))

    return blueprint


def told(mended: Any) -> Response:
    """200 where it was done, 409 where the delivery was left alone."""
    response = jsonify(id=mended.delivery_id, done=mended.done, message=mended.message)
    response.status_code = 200 if mended.done else 409
    return response


def one_of(name: str, allowed: tuple[str, ...]) -> str | None:
    """A query parameter that must be one of `allowed` where it is given. Raises UnprocessableEntity."""
    value = request.args.get(name)
    if value is not None and value not in allowed:
        raise UnprocessableEntity(f"{name} must be one of {', '.join(allowed)}")
    return value


def number(name: str) -> int | None:
    """A query parameter that must be a whole number from 1 up where it is given. Raises UnprocessableEntity."""
    value = request.args.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and 0 < int(value[:19]) < 2**62):
        raise UnprocessableEntity(f"{name} must be a whole number from 1 up")
    return int(value[:19])


def page_size() -> int:
    """The query parameter `limit`: 100 where it is not given, 500 at most."""
    return min(number("limit") or 100, LARGEST_PAGE)
