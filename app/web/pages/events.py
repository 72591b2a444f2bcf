"""Events: everything that was received, and what became of it."""

import time
from collections import Counter
from dataclasses import replace

from flask import Blueprint, render_template, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.intake.remap import remap_parked
from app.ledger.audit import note
from app.ledger.engine import look
from app.ledger.reading import events as reading_events
from app.ledger.reading import sandbox as reading_sandbox
from app.ledger.reading.events import events_that_match
from app.model import OUTCOMES
from app.web.auth import is_operator, login_required
from app.web.params import EVENTS_FILTER, events_asked, filled, number
from app.web.services import ROWS, Parts, actor, told

REMAP_SECONDS = 15.0
"""What a request may take for mapping parked events anew; the command has no such limit."""


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/events")
    @login_required
    def events() -> str:
        fields, before = filled(EVENTS_FILTER), number("before")
        wanted = replace(events_asked(fields), whole_addresses=not is_operator())
        with look(ledger) as tx:
            page = events_that_match(tx, wanted, parts.sources, before=before, limit=ROWS)
        return render_template("events.html", page=page, fields=fields, before=before, outcomes=OUTCOMES)

    @blueprint.get("/events/<int:event_id>")
    @login_required
    def event(event_id: int) -> str:
        with look(ledger) as tx:
            found = reading_events.event(tx, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}")
        return render_template("event.html", event=found)

    @blueprint.post("/events/remap")
    @login_required
    def remap() -> Response:
        message = map_parked_anew(parts)
        ledger.transact(lambda tx: note(tx, actor(), "remap", "parked events", message))
        parts.nudge()
        return told(message, url_for(".events", outcome="parked"))

    @blueprint.get("/sandbox")
    @login_required
    def sandbox() -> str:
        with look(ledger) as tx:
            received = reading_sandbox.sandbox(tx)
        return render_template("sandbox.html", received=received)


def map_parked_anew(parts: Parts) -> str:
    """Maps parked events anew, oldest first, for as long as a request may take; what became of them, in a sentence."""
    until = time.monotonic() + REMAP_SECONDS
    outcomes: Counter[str] = Counter()
    for one in remap_parked(parts.ledger, parts.sources, parts.policy):
        outcomes[one.receipt.outcome if one.receipt else "unreadable"] += 1
        if time.monotonic() > until:
            return f"{_counted(outcomes)}; there was no time for the rest: run bridge replay --parked"
    return _counted(outcomes) if outcomes else "no event is parked"


def _counted(outcomes: Counter[str]) -> str:
    return "mapped anew: " + ", ".join(f"{count:,} {name}" for name, count in sorted(outcomes.items()))
