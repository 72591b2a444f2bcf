"""Downloads that are read from the ledger page by page: CSV files of lists, safe to open in a spreadsheet, and people's data."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import structlog
from flask import Response, request
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wsgi import wrap_file

from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import all_deliveries
from app.ledger.reading.events import all_events
from app.ledger.reading.filters import EventFilter, Filter
from app.web.masking import mask

log = structlog.get_logger(__name__)

DELIVERY = (
    "id", "status", "kind", "source", "event_id", "destination", "dedupe_key", "attempts", "created_at", "next_attempt_at",
    "delivered_at", "last_status", "last_error", "payload", "amount", "currency", "invoice_id", "customer_id", "email", "omitted",
    "note", "refund",
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
    "destinations",
)

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def export_deliveries(ledger: Ledger, criteria: Filter, sources: Iterable[str], *, is_masked: bool) -> Response:
    """All deliveries that match, newest first."""
    return table("deliveries", DELIVERY, all_deliveries(ledger, criteria, sources), is_masked=is_masked)


def export_events(ledger: Ledger, criteria: EventFilter, sources: Iterable[str], *, is_masked: bool) -> Response:
    """All events that match, newest first."""
    return table("events", EVENT, all_events(ledger, criteria, sources), is_masked=is_masked)


def table(name: str, columns: tuple[str, ...], rows: Iterable[dict[str, Any]], *, is_masked: bool) -> Response:
    """A CSV download, with addresses masked for a read-only login."""
    lines = _lines(columns, rows)
    return download(f"{name}.csv", "text/csv; charset=utf-8", map(mask, lines) if is_masked else lines)


def download(name: str, content_type: str, pieces: Iterable[str]) -> Response:
    """A file of that name.

    It is written to a file here before the response starts, so a failure is an error and never a shorter file, and slow readers
    need no memory and no thread.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the response that sends it
    try:
        file.writelines(piece.encode("utf-8", "replace") for piece in pieces)
        size = file.tell()
        file.seek(0)
    except OSError as error:
        file.close()
        log.error("export.failed", name=name, exc_info=error)
        raise ServiceUnavailable(f"there is no room for this download in {tempfile.gettempdir()}") from None
    except BaseException:
        file.close()
        raise
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(size),
        "Cache-Control": "no-store",
    }
    return Response(
        wrap_file(request.environ, file),
        content_type=content_type,
        headers=headers,
        direct_passthrough=True,
    )


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
    """A cell that a spreadsheet shows as text, because anyone can send text that begins like a formula."""
    if isinstance(value, list):
        value = "; ".join(value)
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value
