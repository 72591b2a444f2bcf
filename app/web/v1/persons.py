"""Persons: who they are, what happened to them, and erasing their data."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection
from werkzeug.exceptions import Conflict, NotFound

from app.ledger import journeys
from app.ledger.engine import Ledger
from app.ledger.forgetting import BeingSent, Forgotten, forget
from app.ledger.reading import look
from app.web.asked import number, only, page_size, text_in
from app.web.pages.parts import Parts
from app.web.v1.answers import ACTOR


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/persons")
    def persons() -> Response:
        only("q", "before", "limit")
        text, before, limit = text_in(request.args, "q"), number("before"), page_size()
        with look(ledger) as connection:
            ids = journeys.named(ledger, connection, text) if text else None
            page = journeys.persons(ledger, connection, ids=ids, before=before, limit=limit)
        return jsonify(persons=page, next_before=page[-1]["id"] if len(page) == limit else None)

    @blueprint.get("/persons/<int:person_id>")
    def person(person_id: int) -> Response:
        only()
        with look(ledger) as connection:
            found = known(ledger, connection, person_id)
            steps = journeys.journey(ledger, connection, found)
            found["events"] = journeys.events_of(ledger, connection, person_id)
        found["journey"] = [{k: v for k, v in step.items() if k not in ("ms", "rank")} for step in steps]
        found["why"] = journeys.why_this_id(found)
        return jsonify(found)

    @blueprint.post("/persons/<int:person_id>/forget")
    def forget_one(person_id: int) -> Response:
        only()

        def work(connection: Connection) -> Forgotten:
            known(ledger, connection, person_id)
            return forget(ledger, connection, person_id, actor=ACTOR)

        try:
            done = ledger.transact(work)
        except BeingSent:
            raise Conflict("something of theirs is being sent just now: try again in a minute") from None
        return jsonify(id=person_id, events=done.events, deliveries=done.deliveries, discarded=done.discarded)


def known(ledger: Ledger, connection: Connection, person_id: int) -> dict[str, Any]:
    """Raises NotFound."""
    found = journeys.person(ledger, connection, person_id)
    if found is None:
        raise NotFound(f"there is no person {person_id}")
    return found
