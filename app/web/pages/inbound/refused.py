"""The page of refused requests: which source, why, since when, and what to do."""

from typing import Any

from flask import Blueprint, render_template
from werkzeug.exceptions import UnprocessableEntity

from app.ledger.engine import look
from app.ledger.inbound import quarantine as reading
from app.ledger.inbound.refused import REASONS, RefusalFilter
from app.setup.refused import Refused, refused_requests
from app.web.auth import login_required
from app.web.pages.inbound import quarantine
from app.web.params import REFUSALS_FILTER, filled, refusals_asked
from app.web.services import Parts

BAR, GAP, HEIGHT = 6, 2, 28
"""Of the bars, in units of the drawing."""


def create_blueprint(parts: Parts) -> Blueprint:
    blueprint = Blueprint("inbound", __name__)
    quarantine.register(blueprint, parts)

    @blueprint.get("/inbound")
    @login_required
    def index() -> tuple[str, int]:
        fields, problem = filled(REFUSALS_FILTER), ""
        try:
            criteria = refusals_asked(fields)
        except UnprocessableEntity as error:
            criteria, problem = RefusalFilter(), str(error.description)
        with look(parts.ledger) as tx:
            groups = [] if problem else refused_requests(tx, parts.settings, parts.sources, criteria)
            held = {name: n for name, n in reading.counts(tx).items() if criteria.source in (None, name)}
        page = render_template(
            "inbound/index.html",
            problem=problem,
            refused=[(group, drawing(group)) for group in groups],
            fields=fields,
            spans=SPANS,
            reasons=REASONS,
            held=held,
            titles=quarantine.titles(parts),
        )
        return page, 422 if problem else 200

    return blueprint


SPANS = (("1h", "hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))


def drawing(refused: Refused) -> dict[str, Any]:
    """The bars of one row as SVG needs them: width, height, and for each bar its start (ms), count, x and height."""
    bars = refused.group.bars
    highest = max(1, *bars.counts)
    drawn = [
        {
            "at": bars.start + index * bars.step_ms,
            "count": count,
            "x": index * (BAR + GAP),
            "height": round(max(count / highest * HEIGHT, 2 if count else 0), 1),
        }
        for index, count in enumerate(bars.counts)
    ]
    return {"bars": drawn, "width": len(drawn) * (BAR + GAP), "height": HEIGHT, "bar": BAR}
