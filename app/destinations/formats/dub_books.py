"""What Dub holds: its sale events, and the commission of a Sale that these do not have.

https://dub.co/docs/api-reference/endpoint/list-events and .../list-commissions
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import from_json

from app.destinations.formats.base import Answered, HttpRequest
from app.times import iso_milliseconds

PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class DubBooks:
    title: str = "Dub"
    page_size: int = PAGE_SIZE

    def list_request(self, since: datetime, page: int, token: str) -> HttpRequest:
        query = {
            "event": "sales",
            "start": iso_milliseconds(since),
            "sortOrder": "asc",
            "page": page,
            "limit": PAGE_SIZE,
        }
        return _get(f"/events?{urlencode(query)}", token)

    def listed(self, answer: Answered) -> Sequence[str] | None:
        events = _list(answer)
        return None if events is None else [_invoice_of(event) for event in events]

    def sale_request(self, invoice_id: str, token: str) -> HttpRequest:
        return _get(f"/commissions?invoiceId={quote(invoice_id, safe='')}", token)

    def holds(self, answer: Answered, invoice_id: str) -> bool:
        return any(event.get("invoiceId") == invoice_id for event in _list(answer) or ())


def _get(path: str, token: str) -> HttpRequest:
    return HttpRequest("GET", path, {"Authorization": f"Bearer {token}", "Accept": "application/json"}, b"")


def _list(answer: Answered) -> list[dict[str, Any]] | None:
    try:
        content = from_json(answer.body)
    except ValueError:
        return None
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else None


def _invoice_of(event: dict[str, Any]) -> str:
    """Also as Dub called it before."""
    sale = event.get("sale")
    named = (
        (sale.get("invoiceId") if isinstance(sale, dict) else None) or event.get("invoice_id") or event.get("invoiceId")
    )
    return str(named or "")
