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
    """List refused requests by source and reason, the newest first, with what to do."""
    with look(parts.ledger) as tx:
        found = refused_requests(tx, parts.settings, parts.sources, query.as_filter())
    return Refusals.model_validate({"refusals": [one.as_json() for one in found]})
