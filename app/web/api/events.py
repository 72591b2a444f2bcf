"""Events: the list (also as CSV), one of them, and reprocessing parked ones."""

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound

from app.intake.remap import reprocess_parked
from app.ledger.engine import look
from app.ledger.reading import events as reading_events
from app.ledger.reading.events import events_that_match
from app.web.api.answers import ACTOR
from app.web.csv_export import export_events
from app.web.params import EVENTS_FILTER, events_asked, number, only, page_size
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/events")
    def events() -> Response:
        only(*EVENTS_FILTER, "before", "limit")
        wanted, before, limit = events_asked(request.args), number("before"), page_size()
        with look(ledger) as tx:
            page = events_that_match(tx, wanted, parts.sources, before=before, limit=limit)
        return jsonify(events=page.rows, next_before=page.next_before)

    @blueprint.get("/events.csv")
    def events_csv() -> Response:
        only(*EVENTS_FILTER)
        return export_events(ledger, events_asked(request.args), parts.sources, is_masked=False)

    @blueprint.get("/events/<path:event_id>")
    def event(event_id: str) -> Response:
        only()
        with look(ledger) as tx:
            found = reading_events.event(tx, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}")
        return jsonify(found)

    @blueprint.post("/events/remap")
    def remap() -> Response:
        only()
        message = reprocess_parked(ledger, parts.sources, parts.policy, actor=ACTOR)
        parts.nudge()
        return jsonify(message=message)
