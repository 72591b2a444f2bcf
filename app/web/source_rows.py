"""The state of each source, for page and API: whether it is configured, its URL, recent events and refusals. Never a secret's
value, and a URL's token only on request."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from app.config.settings import Settings
from app.ledger.alerting.refusals import last_refusals, refusals
from app.ledger.alerting.rhythm import silence
from app.ledger.inbound import quarantine
from app.ledger.reading.summary.overview import LATELY_DAYS, activity
from app.ledger.transaction import Tx
from app.setup.source_state import configured_by, is_verified
from app.sources.base import Source
from app.sources.catalog import has_example

DAY_MS = 86_400_000


def source_rows(
    tx: Tx, settings: Settings, sources: Mapping[str, Source], shows_token_of: str | None = None
) -> list[dict[str, Any]]:
    """One row for each source, configured ones first."""
    known = activity(tx, sources)
    now = tx.now()
    since = now - LATELY_DAYS * DAY_MS
    refused, last = refusals(tx, sources, since), last_refusals(tx, sources, since)
    held = quarantine.counts(tx)
    rows = []
    for name, source in sources.items():
        row = _row(settings, source, shows_token=name == shows_token_of) | known[name]
        refusal, quiet = last.get(name), silence(tx, name, settings.alerts, now) if row["is_configured"] else None
        row |= {"refused": refused[name], "quarantined": held.get(name, 0), "silence": quiet and asdict(quiet)}
        row["last_refusal"] = refusal and {"reason": refusal.reason, "at": refusal.at, "count": refusal.count}
        rows.append(row)
    return sorted(rows, key=lambda row: not row["is_configured"])


def _row(settings: Settings, source: Source, *, shows_token: bool) -> dict[str, Any]:
    name = source.name
    tokens, is_signed, has_secret = settings.path_tokens_of(name), source.signed, bool(settings.secrets_of(name))
    url = f"{settings.public_url or settings.own_url}/webhooks/{name}"
    has_token = bool(tokens) or not is_signed
    plain = f"{url}/…" if has_token else url
    return {
        "name": name,
        "title": source.title,
        "is_signed": is_signed,
        "is_verified": is_verified(settings, source),
        "has_token": has_token,
        "is_configured": bool(tokens) or (is_signed and has_secret),
        "has_example": has_example(name),
        "may_ask": bool(tokens) and not shows_token,
        "is_shown": shows_token,
        "url": plain,
        "urls": [f"{url}/{token}" for token in tokens] if shows_token else [plain],
        "variable": configured_by(settings, source),
    }
