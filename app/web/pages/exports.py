"""CSV of deliveries and events, a page of the ledger after the other, so that a million rows need no memory."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Blueprint, Response

from app.ledger import queries
from app.model import OUTCOMES, STATUSES
from app.web.asked import one_of
from app.web.auth import is_operator, login_required
from app.web.pages.parts import Parts
from app.web.shown import mask

DELIVERY = (
    "id", "status", "kind", "source", "event_id", "destination", "dedupe_key", "attempts", "created_at", "next_attempt_at",
    "delivered_at", "last_status", "last_error", "payload",
)  # fmt: skip
EVENT = (
    "id",
    "source",
    "event_id",
    "event_type",
    "outcome",
    "reason",
    "received_at",
    "received_count",
    "conversion_id",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/deliveries.csv")
    @login_required
    def deliveries_csv() -> Response:
        status = one_of("status", STATUSES)
        rows = queries.all_deliveries(ledger, status=status, limit=None)
        return table("deliveries", DELIVERY, rows, is_masked=not is_operator())

    @blueprint.get("/events.csv")
    @login_required
    def events_csv() -> Response:
        outcome = one_of("outcome", OUTCOMES)
        rows = queries.all_events(ledger, outcome=outcome, limit=None)
        return table("events", EVENT, rows, is_masked=not is_operator())


def table(name: str, columns: tuple[str, ...], rows: Iterable[dict[str, Any]], *, is_masked: bool) -> Response:
    """A download that is written while it is read; with addresses masked for a read-only login."""
    lines = _lines(columns, rows)
    text = (mask(line) for line in lines) if is_masked else lines
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
    return Response(text, content_type="text/csv; charset=utf-8", headers=headers)


def _lines(columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    """What a spreadsheet shows as text: one that begins like a formula would be reckoned, and may come from anybody."""
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value
