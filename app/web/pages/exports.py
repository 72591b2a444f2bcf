"""The lists of deliveries and events as CSV."""

from dataclasses import replace

from flask import Blueprint, Response

from app.web.auth import is_operator, login_required
from app.web.csv_export import export_deliveries, export_events
from app.web.params import EVENTS_FILTER, FILTER, events_asked, filled, filter_of
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    @blueprint.get("/deliveries.csv")
    @login_required
    def deliveries_csv() -> Response:
        is_masked = not is_operator()
        criteria = replace(filter_of(filled(FILTER)), whole_addresses=is_masked)
        return export_deliveries(parts.ledger, criteria, parts.sources, is_masked=is_masked)

    @blueprint.get("/events.csv")
    @login_required
    def events_csv() -> Response:
        is_masked = not is_operator()
        criteria = replace(events_asked(filled(EVENTS_FILTER)), whole_addresses=is_masked)
        return export_events(parts.ledger, criteria, parts.sources, is_masked=is_masked)
