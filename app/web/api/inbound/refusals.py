"""Requests that were refused, by source and reason."""

from app.ledger.engine import look
from app.setup.refused import refused_requests
from app.web.api.inbound.schemas import Refusals
from app.web.api.routes import Routes
from app.web.params import RefusalsQuery
from app.web.services import Parts

ROUTES = Routes()


@ROUTES.get("/refusals")
def refusals(parts: Parts, query: RefusalsQuery) -> Refusals:
    """List refused requests by source and reason, newest first, each with its remedy."""
    with look(parts.ledger) as tx:
        groups = refused_requests(tx, parts.settings, parts.sources, query.as_filter())
    return Refusals.model_validate({"refusals": [group.as_json() for group in groups]})
