"""Events: everything that was received, and what became of it."""

from flask import Blueprint, render_template
from werkzeug.exceptions import NotFound

from app.ledger import queries
from app.model import OUTCOMES
from app.web.api import number, one_of
from app.web.auth import login_required
from app.web.pages.parts import ROWS, Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/events")
    @login_required
    def events() -> str:
        outcome, before = one_of("outcome", OUTCOMES), number("before")
        with ledger.read() as connection:
            page = queries.events(ledger, connection, outcome=outcome, before=before, limit=ROWS)
        return render_template("events.html", events=page, outcome=outcome, outcomes=OUTCOMES, more=len(page) == ROWS)

    @blueprint.get("/events/<int:event_id>")
    @login_required
    def event(event_id: int) -> str:
        with ledger.read() as connection:
            found = queries.event(ledger, connection, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}")
        return render_template("event.html", event=found)

    @blueprint.get("/sandbox")
    @login_required
    def sandbox() -> str:
        with ledger.read() as connection:
            received = queries.sandbox(ledger, connection)
        return render_template("sandbox.html", received=received)
