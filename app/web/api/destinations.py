"""Destinations: their state, pausing and resuming them."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound

from app.ledger.engine import look
from app.ledger.forwarding import breaker
from app.ledger.reading.summary import overview, stats
from app.web.api.answers import ACTOR
from app.web.params import json_object, only, text_in
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger
    known = [one.name for one in parts.destinations]

    @blueprint.get("/destinations")
    def destinations() -> Response:
        only()
        with look(ledger) as tx:
            states = {one["name"]: one for one in stats.destinations(tx)}
            found = [{**state_of(name, states.get(name)), "waiting": overview.waiting(tx, name)} for name in known]
        return jsonify(destinations=found)

    @blueprint.post("/destinations/<name>/pause")
    def pause(name: str) -> Response:
        only()
        must_know(name)
        reason = text_in(json_object("reason"), "reason") if request.get_data() else None
        done = ledger.transact(lambda tx: breaker.pause(tx, name, reason or "", actor=ACTOR))
        return jsonify(name=name, done=done, message=f"{name} is paused" if done else f"{name} was paused already")

    @blueprint.post("/destinations/<name>/resume")
    def resume(name: str) -> Response:
        only()
        must_know(name)
        done = ledger.transact(lambda tx: breaker.resume(tx, name, actor=ACTOR))
        parts.nudge()
        return jsonify(name=name, done=done, message=f"Resumed {name}" if done else f"{name} was not paused")

    def must_know(name: str) -> None:
        if name not in known:
            raise NotFound(f"there is no destination {name}")


def state_of(name: str, state: dict[str, Any] | None) -> dict[str, Any]:
    """The pauses of a destination; of one that no worker has served yet, those that hold nothing."""
    blank = {"paused_at": None, "paused_reason": None, "failures": 0, "probe_at": None, "is_open": False}
    return state or {"name": name, **blank}
