"""Sources: which are configured, what they sent lately, and what was refused. Never a secret, and no token."""

from flask import Blueprint, Response, jsonify

from app.ledger.engine import look
from app.ledger.reading.summary.overview import LATELY_DAYS
from app.web.params import only
from app.web.services import Parts
from app.web.source_rows import source_rows

FIELDS = ("name", "title", "is_configured", "is_signed", "variable", "url", "last", "outcomes", "refused")


def register(blueprint: Blueprint, parts: Parts) -> None:
    @blueprint.get("/sources")
    def sources() -> Response:
        only()
        with look(parts.ledger) as tx:
            rows = source_rows(tx, parts.settings, parts.sources)
        return jsonify(sources=[{name: row[name] for name in FIELDS} for row in rows], days=LATELY_DAYS)
