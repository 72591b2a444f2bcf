"""What people ask of the ledger: lists, one delivery or event with its story. Read only, and all of it by index."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from app.dialects.base import iso_milliseconds
from app.errors import DeliveryNotFound
from app.ledger.engine import Ledger
from app.ledger.reading import look
from app.ledger.tables import LARGEST_ID

PAGE = 500

DELIVERY = (
    "d.id, d.status, d.kind, d.dedupe_key, d.destination, d.payload, d.attempts, d.due_at, d.created_at, d.delivered_at,"
    " d.last_error, d.last_status, d.source, d.event_id, d.person_id, d.conversion_id, d.held, d.claim, e.event_id, e.event_type"
)
EVENT = (
    "id, source, event_id, event_type, outcome, reason, conversion_id, person_id, received_at, received_count,"
    " last_received_at"
)


def iso(milliseconds: int | None) -> str | None:
    """Ledger time to ISO 8601 UTC with milliseconds."""
    return None if milliseconds is None else iso_milliseconds(datetime.fromtimestamp(milliseconds / 1000, UTC))


def deliveries(
    ledger: Ledger,
    connection: Connection,
    *,
    status: str | None = None,
    source: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> list[dict[str, Any]]:
    """One page of deliveries, newest first, with ids below `before`; as contract.md describes a delivery."""
    where, values = _where(("d.status = ?", status), ("d.source = ?", source), ("d.id < ?", before))
    rows = ledger.run(
        connection,
        f"SELECT {DELIVERY} FROM deliveries d JOIN events e ON e.id = d.event_id"
        f" WHERE {where} ORDER BY d.id DESC LIMIT ?",
        *values,
        limit,
    )
    return [delivery_row(row) for row in rows.all()]


def deliveries_by_id(ledger: Ledger, connection: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """These deliveries, newest first."""
    condition, value = ledger.among("d.id", ids)
    statement = (
        f"SELECT {DELIVERY} FROM deliveries d JOIN events e ON e.id = d.event_id WHERE {condition} ORDER BY d.id DESC"
    )
    return [delivery_row(row) for row in ledger.run(connection, statement, value).all()]


def all_deliveries(ledger: Ledger, *, status: str | None, limit: int | None) -> Iterator[dict[str, Any]]:
    """Every delivery of that status, newest first, read in pages so that no transaction stays open."""
    return _pages(
        ledger,
        limit,
        lambda connection, before, most: deliveries(ledger, connection, status=status, before=before, limit=most),
    )


def delivery(ledger: Ledger, connection: Connection, delivery_id: int) -> dict[str, Any]:
    """One delivery with its attempts, its event, and the other events of its conversion. Raises DeliveryNotFound."""
    if delivery_id > LARGEST_ID:
        raise DeliveryNotFound(delivery_id)
    row = ledger.run(
        connection,
        f"SELECT {DELIVERY} FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.id = ?",
        delivery_id,
    ).first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    found = delivery_row(row)
    found["attempt_list"] = attempts(ledger, connection, delivery_id)
    found["events"] = [
        event_row(r)
        for r in ledger.run(
            connection,
            f"SELECT {EVENT} FROM events WHERE conversion_id = ? ORDER BY id LIMIT 100",
            found["conversion_id"],
        ).all()
    ]
    found["marks"] = marks(ledger, connection, found["conversion_id"])
    found["waits_for"] = _lead_before(ledger, connection, found)
    return found


def _lead_before(ledger: Ledger, connection: Connection, delivery: dict[str, Any]) -> int | None:
    """The open Lead of its person that an open Sale waits for (HOLD_SECONDS at most); None where it waits for none."""
    if delivery["kind"] != "sale" or delivery["status"] not in ("pending", "retrying") or delivery["sending"]:
        return None
    found: int | None = ledger.run(
        connection,
        "SELECT id FROM deliveries WHERE person_id = ? AND destination = ? AND due_at IS NOT NULL AND id < ? AND kind = 'lead'"
        " ORDER BY id LIMIT 1",
        delivery["person_id"],
        delivery["destination"],
        delivery["id"],
    ).scalar()
    return found


def attempts(ledger: Ledger, connection: Connection, delivery_id: int) -> list[dict[str, Any]]:
    """All attempts at a delivery, oldest first."""
    rows = ledger.run(
        connection,
        "SELECT number, result, by_hand, started_at, duration_ms, status, error, answer_headers, answer_body"
        " FROM attempts WHERE delivery_id = ? ORDER BY id",
        delivery_id,
    )
    return [
        {
            "number": number,
            "result": result,
            "by_hand": bool(by_hand),
            "started_at": iso(started_at),
            "duration_ms": duration_ms,
            "status": status,
            "error": error,
            "answer_headers": json.loads(headers) if headers else None,
            "answer_body": body,
        }
        for number, result, by_hand, started_at, duration_ms, status, error, headers, body in rows.all()
    ]


def marks(ledger: Ledger, connection: Connection, conversion_id: int) -> list[dict[str, Any]]:
    """Refunds and disputes of a conversion, oldest first; amounts in minor units."""
    rows = ledger.run(
        connection,
        "SELECT DISTINCT m.reference, m.kind, m.status, m.minor, m.currency, m.at FROM marks m"
        " JOIN dedupe_keys k ON k.key = m.key WHERE k.conversion_id = ? ORDER BY m.at, m.reference",
        conversion_id,
    )
    names = ("reference", "kind", "status", "amount_minor", "currency", "at")
    return [dict(zip(names, (*row[:5], iso(row[5])), strict=True)) for row in rows.all()]


def events(
    ledger: Ledger, connection: Connection, *, outcome: str | None = None, before: int | None = None, limit: int = PAGE
) -> list[dict[str, Any]]:
    """One page of events, newest first, with ids below `before`."""
    where, values = _where(("outcome = ?", outcome), ("id < ?", before))
    rows = ledger.run(
        connection,
        f"SELECT {EVENT} FROM events WHERE {where} ORDER BY id DESC LIMIT ?",
        *values,
        limit,
    )
    return [event_row(row) for row in rows.all()]


def events_by_id(ledger: Ledger, connection: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """These events, newest first."""
    condition, value = ledger.among("id", ids)
    rows = ledger.run(connection, f"SELECT {EVENT} FROM events WHERE {condition} ORDER BY id DESC", value).all()
    return [event_row(row) for row in rows]


def all_events(ledger: Ledger, *, outcome: str | None, limit: int | None) -> Iterator[dict[str, Any]]:
    """Every event of that outcome, newest first, in pages."""
    return _pages(
        ledger,
        limit,
        lambda connection, before, most: events(ledger, connection, outcome=outcome, before=before, limit=most),
    )


def event(ledger: Ledger, connection: Connection, event_id: int | str) -> dict[str, Any] | None:
    """One event with its headers, body (text) and the deliveries of its conversion; None where there is none.

    event_id: the ledger's id, or source and its own id ("stripe:evt_1").
    """
    name = str(event_id).replace("\x00", "\ufffd")
    is_own = name.isascii() and name.isdigit() and len(name) < 19
    condition, value = ("id = ?", int(name)) if is_own else ("event_key = ?", name)
    row = ledger.run(connection, f"SELECT {EVENT}, headers, body FROM events WHERE {condition}", value).first()
    if row is None:
        return None
    found = event_row(row[:-2])
    found["headers"] = json.loads(row[-2])
    found["body"] = bytes(row[-1]).decode("utf-8", "replace")
    found["deliveries"] = []
    if found["conversion_id"] is not None:
        rows = ledger.run(
            connection,
            f"SELECT {DELIVERY} FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.conversion_id = ?",
            found["conversion_id"],
        )
        found["deliveries"] = [delivery_row(r) for r in rows.all()]
    return found


def _where(*conditions: tuple[str, Any]) -> tuple[str, list[Any]]:
    """Those of `conditions` whose value is not None, and these values."""
    asked = [(condition, value) for condition, value in conditions if value is not None]
    return " AND ".join(["1 = 1", *(condition for condition, _ in asked)]), [value for _, value in asked]


def _pages(
    ledger: Ledger, limit: int | None, page_of: Callable[[Connection, int | None, int], list[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """All rows, or `limit` of them, read in pages so that no transaction stays open. page_of(connection, before, most)."""
    before, left = None, limit
    while left is None or left > 0:
        most = PAGE if left is None else min(PAGE, left)
        with look(ledger) as connection:
            page = page_of(connection, before, most)
        yield from page
        if len(page) < most:
            return
        before = page[-1]["id"]
        left = None if left is None else left - len(page)


def delivery_row(row: Any) -> dict[str, Any]:
    return {
        "id": row[0],
        "status": row[1],
        "kind": row[2],
        "dedupe_key": row[3],
        "destination": row[4],
        "payload": json.loads(row[5]),
        "attempts": row[6],
        "next_attempt_at": iso(row[7]),
        "created_at": iso(row[8]),
        "delivered_at": iso(row[9]),
        "last_error": row[10],
        "last_status": row[11],
        "source": row[12],
        "event_id": row[18],
        "event_type": row[19],
        "event": row[13],
        "person_id": row[14],
        "conversion_id": row[15],
        "held": bool(row[16]),
        "sending": row[17] is not None,
    }


def event_row(row: Any) -> dict[str, Any]:
    return {
        "id": row[0],
        "source": row[1],
        "event_id": row[2],
        "event_type": row[3],
        "outcome": row[4],
        "reason": row[5],
        "conversion_id": row[6],
        "person_id": row[7],
        "received_at": iso(row[8]),
        "received_count": row[9],
        "last_received_at": iso(row[10]),
    }
