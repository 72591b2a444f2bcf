"""Persons: who they are, what happened to them, and erasing their data."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import Conflict, NotFound

from app.ledger.actions.forget import BeingSent, forget_person
from app.ledger.engine import look
from app.ledger.reading import persons as reading_persons
from app.ledger.transaction import Tx
from app.web.api.answers import ACTOR
from app.web.params import number, only, page_size, text_in
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/persons")
    def persons() -> Response:
        only("q", "before", "limit")
        text, before, limit = text_in(request.args, "q"), number("before"), page_size()
        with look(ledger) as tx:
            page, _ = reading_persons.search(
                tx, text or "", parts.sources, whole_addresses=False, before=before, limit=limit
            )
        return jsonify(persons=page, next_before=page[-1]["id"] if len(page) == limit else None)

    @blueprint.get("/persons/<int:person_id>")
    def person(person_id: int) -> Response:
        only()
        with look(ledger) as tx:
            found = known(tx, person_id)
            steps = reading_persons.journey(tx, found)
            found["events"] = reading_persons.events_of(tx, person_id)
        found["journey"] = [{k: v for k, v in step.items() if k not in ("ms", "rank")} for step in steps]
        found["why"] = reading_persons.why_this_id(found)
        return jsonify(found)

    @blueprint.post("/persons/<int:person_id>/forget")
    def forget_one(person_id: int) -> Response:
        only()

        with look(ledger) as tx:
            known(tx, person_id)
        try:
            done = forget_person(ledger, person_id, actor=ACTOR)
        except BeingSent:
            raise Conflict("something of theirs is being sent just now: try again in a minute") from None
        return jsonify(id=person_id, events=done.events, deliveries=done.deliveries, discarded=done.discarded)


def known(tx: Tx, person_id: int) -> dict[str, Any]:
    """Raises NotFound."""
    found = reading_persons.person(tx, person_id)
    if found is None:
        raise NotFound(f"there is no person {person_id}")
    return found
