"""Sources: which are configured, what they sent lately, and what was refused. Never a secret, and no token."""

from flask import Blueprint, Response, jsonify

from app.config.settings import variable_of
from app.ledger.alerting.refusals import refusals
from app.ledger.engine import look
from app.ledger.reading.overview import LATELY_DAYS, activity
from app.web.params import only
from app.web.services import Parts

DAY_MS = 86_400_000


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/sources")
    def sources() -> Response:
        only()
        with look(ledger) as tx:
            known = activity(tx, parts.sources)
            since = tx.now() - LATELY_DAYS * DAY_MS
            refused = refusals(tx, parts.sources, since)
        base = parts.settings.public_url or parts.settings.own_url
        found = [
            {
                "name": name,
                "title": source.title,
                "is_configured": name in parts.intake.configured,
                "is_signed": source.signed,
                "variable": f"{variable_of(name)}_{'WEBHOOK_SECRET' if source.signed else 'PATH_TOKEN'}",
                "url": f"{base}/webhooks/{name}{'/…' if parts.settings.path_tokens_of(name) or not source.signed else ''}",
                "last": known[name]["last"],
                "outcomes": known[name]["outcomes"],
                "refused": refused[name],
            }
            for name, source in parts.sources.items()
        ]
        return jsonify(sources=sorted(found, key=lambda one: not one["is_configured"]), days=LATELY_DAYS)
