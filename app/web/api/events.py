"""Events: the list (also as CSV), one of them, and reprocessing parked ones."""

from flask import Response
from werkzeug.exceptions import NotFound

from app.intake.remap import reprocess_parked, sentence
from app.ledger.engine import look
from app.ledger.reading import events as reading_events
from app.ledger.reading.events import events_that_match
from app.web.api.actor import actor
from app.web.api.routes import Routes
from app.web.api.schemas import EventPage, Message, WholeEvent
from app.web.auth import is_viewer
from app.web.csv_export import export_events
from app.web.params import EventsFilter, Paging
from app.web.services import Parts

ROUTES = Routes()


class EventsQuery(EventsFilter, Paging):
    """A filter and a page."""


@ROUTES.get("/events")
def events(parts: Parts, query: EventsQuery) -> EventPage:
    """List events, newest first."""
    with look(parts.ledger) as tx:
        page = events_that_match(tx, query.as_filter(), parts.sources, before=query.before, limit=query.size)
    return EventPage.model_validate({"events": page.rows, "next_before": page.next_before})


@ROUTES.get("/events.csv", media="text/csv")
def events_csv(parts: Parts, query: EventsFilter) -> Response:
    """Download all events that match, as CSV."""
    return export_events(parts.ledger, query.as_filter(), parts.sources, is_masked=is_viewer())


@ROUTES.get("/events/<path:event_id>")
def event(parts: Parts, event_id: str) -> WholeEvent:
    """Get one event with headers, body and deliveries, by its ID here, or by source and the source's ID (stripe:evt_1)."""
    with look(parts.ledger) as tx:
        shown = reading_events.event(tx, event_id)
    if shown is None:
        raise NotFound(f"there is no event {event_id}")
    return WholeEvent.model_validate(shown)


@ROUTES.post("/events/remap")
def remap_events(parts: Parts) -> Message:
    """Reprocess all parked events after a change of configuration. To choose events, use `parked/reprocess`."""
    reprocessed = reprocess_parked(parts.ledger, parts.sources, parts.policy, actor=actor())
    parts.nudge()
    return Message(message=sentence(reprocessed))
