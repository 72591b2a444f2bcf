"""One search over everything: persons, deliveries and events."""

from flask import Blueprint, render_template, request

from app.ledger.actions.traces import Traces, held_naming
from app.ledger.engine import look
from app.ledger.reading import events as reading_events
from app.ledger.reading import persons as reading_persons
from app.ledger.reading import rows, search
from app.text import storable
from app.web.auth import is_operator, login_required
from app.web.services import ROWS, Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/search")
    @login_required
    def search_all() -> str:
        text = storable(request.args.get("q", "").strip())
        with look(ledger) as tx:
            matches = search.find(tx, text, parts.sources, whole_addresses=not is_operator())
            ids = search.deliveries_of(tx, matches, ROWS) if text else []
            deliveries = rows.deliveries_by_id(tx, ids)
            persons = reading_persons.persons(tx, ids=matches.person_ids[:ROWS], limit=ROWS)
            events = reading_events.events_by_id(tx, matches.event_ids[:ROWS])
            is_found = bool(persons or deliveries or events)
            held = [] if is_found or not text else held_naming(tx, Traces([text]))[-ROWS:]
        return render_template(
            "search.html", q=text, deliveries=deliveries, persons=persons, events=events, rows=ROWS, held=held
        )
