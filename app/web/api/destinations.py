"""Destinations: their state, pausing and resuming them."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from app.ledger.actions.pausing import pause_destination, resume_destination
from app.ledger.engine import look
from app.ledger.reading.summary.status import destination_states
from app.web.api.answers import ACTOR
from app.web.params import json_object, only, text_in
from app.web.services import Parts, weeks_of


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger
    known = [one.name for one in parts.destinations]

    @blueprint.get("/destinations")
    def destinations() -> Response:
        only()
        with look(ledger) as tx:
            weeks = weeks_of(tx, parts)
            states = destination_states(tx, known, parts.health.shadows)
        found = [{**one, "shadow": weeks.get(one["name"])} for one in states]
        return jsonify(destinations=found)

    @blueprint.post("/destinations/<name>/pause")
    def pause(name: str) -> Response:
        only()
        reason = text_in(json_object("reason"), "reason") if request.get_data() else None
        return jsonify(asdict(pause_destination(ledger, name, known, reason or "", actor=ACTOR)))

    @blueprint.post("/destinations/<name>/resume")
    def resume(name: str) -> Response:
        only()
        result = resume_destination(ledger, name, known, actor=ACTOR)
        parts.nudge()
        return jsonify(asdict(result))
