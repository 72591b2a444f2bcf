"""Deliveries: the list (also as CSV), one of them, and the actions on it."""

import json

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import UnprocessableEntity

from app.ledger.actions.edit import submit_edit
from app.ledger.actions.replay import discard, replay, undo_discard
from app.ledger.engine import look
from app.ledger.reading import deliveries as reading_deliveries
from app.ledger.reading.deliveries import deliveries_that_match
from app.web.api.answers import ACTOR, answer
from app.web.csv_export import export_deliveries
from app.web.params import FILTER, filter_of, json_object, number, one_of, only, page_size
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/deliveries")
    def deliveries() -> Response:
        only(*FILTER, "before", "limit")
        wanted, before, limit = filter_of(request.args), number("before"), page_size()
        with look(ledger) as tx:
            page = deliveries_that_match(tx, wanted, parts.sources, before=before, limit=limit)
        return jsonify(deliveries=page.rows, next_before=page.next_before)

    @blueprint.get("/deliveries.csv")
    def deliveries_csv() -> Response:
        only(*FILTER)
        return export_deliveries(ledger, filter_of(request.args), parts.sources, is_masked=False)

    @blueprint.get("/deliveries/<int:delivery_id>")
    def delivery(delivery_id: int) -> Response:
        only()
        with look(ledger) as tx:
            return jsonify(reading_deliveries.delivery(tx, delivery_id))

    @blueprint.post("/deliveries/<int:delivery_id>/replay")
    def replay_one(delivery_id: int) -> Response:
        only("force")
        force = one_of("force", ("0", "1", "true", "false")) in ("1", "true")
        result = ledger.transact(lambda tx: replay(tx, delivery_id, actor=ACTOR, force=force))
        parts.nudge()
        return answer(result)

    @blueprint.post("/deliveries/<int:delivery_id>/discard")
    def discard_one(delivery_id: int) -> Response:
        only()
        return answer(ledger.transact(lambda tx: discard(tx, delivery_id, actor=ACTOR)))

    @blueprint.post("/deliveries/<int:delivery_id>/undo")
    def undo_one(delivery_id: int) -> Response:
        only()
        result = ledger.transact(lambda tx: undo_discard(tx, delivery_id, actor=ACTOR))
        parts.nudge()
        return answer(result)

    @blueprint.post("/deliveries/<int:delivery_id>/edit")
    def edit_one(delivery_id: int) -> Response:
        only()
        given = json_object("payload").get("payload")
        if not isinstance(given, dict):
            raise UnprocessableEntity("send the whole edited payload as payload, a JSON object")
        text = json.dumps(given)
        with look(ledger) as tx:
            found = reading_deliveries.delivery(tx, delivery_id)
        edited = submit_edit(ledger, found, text, parts.format(found["destination"]), actor=ACTOR)
        if edited.problem:
            raise UnprocessableEntity(edited.problem)
        parts.nudge()
        return answer(edited.result)
