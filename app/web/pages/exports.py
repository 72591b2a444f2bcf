"""CSV of deliveries and events, read from the ledger page by page, so that a million rows need no memory."""

from dataclasses import replace

from flask import Blueprint, Response

from app.ledger.engine import look
from app.ledger.reading.deliveries import deliveries_that_match
from app.ledger.reading.events import events_that_match
from app.ledger.reading.filters import Page
from app.web.auth import is_operator, login_required
from app.web.csv_export import DELIVERY, EVENT, every_row, table
from app.web.params import EVENTS_FILTER, FILTER, events_asked, filled, filter_of
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/deliveries.csv")
    @login_required
    def deliveries_csv() -> Response:
        wanted = replace(filter_of(filled(FILTER)), whole_addresses=not is_operator())

        def page_of(before: int | None, limit: int) -> Page:
            with look(ledger) as tx:
                return deliveries_that_match(tx, wanted, parts.sources, before=before, limit=limit)

        return table("deliveries", DELIVERY, every_row(page_of), is_masked=not is_operator())

    @blueprint.get("/events.csv")
    @login_required
    def events_csv() -> Response:
        wanted = replace(events_asked(filled(EVENTS_FILTER)), whole_addresses=not is_operator())

        def page_of(before: int | None, limit: int) -> Page:
            with look(ledger) as tx:
                return events_that_match(tx, wanted, parts.sources, before=before, limit=limit)

        return table("events", EVENT, every_row(page_of), is_masked=not is_operator())
