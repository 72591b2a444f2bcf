"""Events: everything that was received, and what became of it."""

from dataclasses import replace

from flask import Blueprint, render_template
from werkzeug.exceptions import NotFound

from app.ledger.engine import look
from app.ledger.reading import events as reading_events
from app.ledger.reading import sandbox as reading_sandbox
from app.ledger.reading.events import events_that_match
from app.model import OUTCOMES
from app.web.auth import is_operator, login_required
from app.web.pages.parked.context import needs_of
from app.web.params import EVENTS_FILTER, before_asked, events_asked, filled
from app.web.services import ROWS, Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/events")
    @login_required
    def events() -> str:
        fields, before = filled(EVENTS_FILTER), before_asked()
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
            needs = needs_of(tx, parts, found)
        return render_template("event.html", event=found, **needs)

    @blueprint.get("/sandbox")
    @login_required
    def sandbox() -> str:
        with look(ledger) as tx:
            received = reading_sandbox.sandbox(tx)
        return render_template("sandbox.html", received=received)
