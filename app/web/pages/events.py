"""Events: everything that was received, with its outcome."""

from dataclasses import replace
from typing import Any

from flask import Blueprint, render_template
from werkzeug.exceptions import NotFound

from app.ledger.engine import look
from app.ledger.reading import events as reading_events
from app.ledger.reading import sandbox as reading_sandbox
from app.ledger.reading.events import events_that_match
from app.ledger.reading.filters import Page
from app.model import OUTCOMES
from app.web.auth import is_operator, login_required
from app.web.lists.asked import asked, canonical
from app.web.pages.parked.context import needs_of
from app.web.params import EVENTS_FILTER, EventsFilter, before_asked
from app.web.services import ROWS, Parts, source_choices


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/events")
    @login_required
    def events() -> Any:
        request_filter, before = asked(EventsFilter, EVENTS_FILTER), before_asked()
        if moved := canonical(request_filter):
            return moved
        query, page = request_filter.read(EventsFilter), Page()
        with look(ledger) as tx:
            if query is not None:
                criteria = replace(query.as_filter(), whole_addresses=not is_operator())
                page = events_that_match(tx, criteria, parts.sources, before=before, limit=ROWS)
            choices = source_choices(tx, parts)
        shown = render_template(
            "events.html",
            page=page,
            asked=request_filter.shown(),
            fields=request_filter.fields,
            source_choices=choices,
            before=before,
            outcomes=OUTCOMES,
        )
        return shown, request_filter.status_code

    @blueprint.get("/events/<int:event_id>")
    @login_required
    def event(event_id: int) -> str:
        with look(ledger) as tx:
            shown = reading_events.event(tx, event_id)
            if shown is None:
                raise NotFound(f"there is no event {event_id}")
            needs = needs_of(tx, parts, shown)
        return render_template("event.html", event=shown, **needs)

    @blueprint.get("/sandbox")
    @login_required
    def sandbox() -> str:
        with look(ledger) as tx:
            received = reading_sandbox.sandbox(tx)
        return render_template("sandbox.html", received=received)
