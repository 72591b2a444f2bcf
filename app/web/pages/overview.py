"""The first page: is it working?"""

from flask import Blueprint, render_template, request

from app.ledger.credit.coverage import click_share
from app.ledger.engine import look
from app.ledger.reading import deliveries as reading_deliveries
from app.ledger.reading import filters
from app.ledger.reading.summary import overview as lately
from app.ledger.reading.summary.pulse import pulse_of
from app.ledger.reading.summary.status import status
from app.ledger.traffic.series import PartsCache
from app.ledger.traffic.spans import SPANS
from app.web.auth import login_required
from app.web.charts.view import charts_of
from app.web.pages.setup import steps_to_show
from app.web.preferences import zone
from app.web.services import Parts

LAST_SHOWN = 8
REASONS_SHOWN = 5
DEAD = filters.Filter(statuses=("dead",))
DEFAULT_SPAN = "day"


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger, cache = parts.ledger, PartsCache()
    names = [destination.name for destination in parts.destinations]

    @blueprint.get("/")
    @login_required
    def overview() -> str:
        span, to = request.args.get("span", DEFAULT_SPAN), request.args.get("to")
        span = span if span in SPANS else DEFAULT_SPAN
        to = to if to in names else None
        with look(ledger) as tx:
            current = status(tx, parts.health, names, parts.sources)
            charts = charts_of(tx, span, to or names[0], zone(), cache)
            deliveries = reading_deliveries.deliveries(tx, limit=LAST_SHOWN)
            dead = reading_deliveries.groups(tx, DEAD, parts.sources, REASONS_SHOWN)
            steps = steps_to_show(tx, parts)
            clicks = click_share(tx)
        parts.pulse.keep(pulse_of(current.verdict, current.counts))
        return render_template(
            "overview.html",
            steps=steps,
            clicks=clicks,
            status=current,
            verdict=current.verdict,
            charts=charts,
            to=to,
            spans=SPANS,
            deliveries=deliveries,
            dead=dead,
            seen=current.sources,
            sources=parts.intake.configured,
            most=lately.MOST,
            rates={destination.name: destination.rate for destination in parts.destinations},
        )
