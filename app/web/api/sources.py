"""Sources: which are configured, what they sent lately, and what was refused. Never a secret, and no token."""

from app.ledger.engine import look
from app.ledger.reading.summary.overview import LATELY_DAYS
from app.web.api.answers import fields_of
from app.web.api.routes import Routes
from app.web.api.state_schemas import Source, Sources
from app.web.services import Parts
from app.web.source_rows import source_rows

ROUTES = Routes()


@ROUTES.get("/sources")
def sources(parts: Parts) -> Sources:
    """List sources, and what they sent within the last days."""
    with look(parts.ledger) as tx:
        rows = source_rows(tx, parts.settings, parts.sources)
    return Sources.model_validate({"sources": [fields_of(row, Source) for row in rows], "days": LATELY_DAYS})
