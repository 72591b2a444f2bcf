"""Events: the list (also as CSV), one of them, and mapping parked ones anew."""

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound

from app.ledger import queries
from app.ledger.lists import EventFilter, events_that_match
from app.ledger.mending import note
from app.ledger.reading import look
from app.ledger.search import Page
from app.model import OUTCOMES
from app.web.asked import name_in, number, one_of, only, page_size, text_in, time_in
from app.web.pages.events import map_parked_anew
from app.web.pages.exports import EVENT, table
from app.web.pages.parts import Parts
from app.web.v1.answers import ACTOR, every_row

FILTER = ("outcome", "source", "since", "until", "q")


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    def page_of(wanted: EventFilter, before: int | None, limit: int) -> Page:
        with look(ledger) as connection:
            return events_that_match(ledger, connection, wanted, parts.sources, before=before, limit=limit)

    @blueprint.get("/events")
    def events() -> Response:
        only(*FILTER, "before", "limit")
        page = page_of(asked(), number("before"), page_size())
        return jsonify(events=page.rows, next_before=page.next_before)

    @blueprint.get("/events.csv")
    def events_csv() -> Response:
        only(*FILTER)
        wanted = asked()
        rows = every_row(lambda before, limit: page_of(wanted, before, limit))
        return table("events", EVENT, rows, is_masked=False)

    @blueprint.get("/events/<path:event_id>")
    def event(event_id: str) -> Response:
        only()
        with look(ledger) as connection:
            found = queries.event(ledger, connection, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}")
        return jsonify(found)

    @blueprint.post("/events/remap")
    def remap() -> Response:
        only()
        message = map_parked_anew(parts)
        ledger.transact(lambda c: note(ledger, c, ACTOR, "remap", "parked events", message))
        parts.nudge()
        return jsonify(message=message)


def asked() -> EventFilter:
    given = request.args
    return EventFilter(
        outcome=one_of("outcome", OUTCOMES),
        source=name_in(given, "source"),
        since=time_in(given, "since"),
        until=time_in(given, "until"),
        text=text_in(given, "q") or "",
    )
