"""Rows as dictionaries: the columns that lists read, and pages of them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.ledger.engine import Ledger, look
from app.ledger.reading.filters import Page
from app.ledger.transaction import Tx
from app.money import Money, json_number
from app.times import iso

PAGE = 500

DELIVERY = (
    "d.id, d.status, d.kind, d.dedupe_key, d.destination, d.payload, d.attempts, d.due_at, d.created_at, d.delivered_at,"
    " d.last_error, d.last_status, d.source, d.event_id, d.person_id, d.conversion_id, d.held, d.claim, e.event_id, e.event_type,"
    " c.facts, p.customer_id, p.email, d.omitted, d.note, c.clicked"
)
DELIVERIES = (
    "deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN conversions c ON c.id = d.conversion_id"
    " LEFT JOIN persons p ON p.id = d.person_id"
)

WITHOUT_CLICK = "(SELECT w.clicked FROM conversions w WHERE w.id = {}) = 0"
"""A condition on the column that holds a conversion's ID. For EXISTS, PostgreSQL would read all conversions."""

EVENT = (
    "id, source, event_id, event_type, outcome, reason, conversion_id, person_id, received_at, received_count,"
    " last_received_at"
)


def deliveries_by_id(tx: Tx, ids: Sequence[int]) -> list[dict[str, Any]]:
    """These deliveries, newest first."""
    condition, value = tx.among("d.id", ids)
    statement = f"SELECT {DELIVERY} FROM {DELIVERIES} WHERE {condition} ORDER BY d.id DESC"
    return [delivery_row(row) for row in tx.run(statement, value).all()]


def every_row(
    ledger: Ledger, page_of: Callable[[Tx, int | None, int], Page], limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """All rows of a list, or the first `limit`, read page by page so that no transaction stays open.

    page_of(tx, before, limit) reads the page of IDs below `before`.
    """
    before, left = None, limit
    while left is None or left > 0:
        with look(ledger) as tx:
            page = page_of(tx, before, PAGE if left is None else min(PAGE, left))
        yield from page.rows
        if page.next_before is None:
            return
        before = page.next_before
        left = None if left is None else left - len(page.rows)


def with_refunds(tx: Tx, conversion_ids: Sequence[int]) -> tuple[str, tuple[str, str]]:
    """A SELECT of the IDs of these conversions and of the refunds of them, and its values.

    It is a UNION, because PostgreSQL reads the whole table where one side of an OR is a subquery.
    """
    own, values = tx.among("id", conversion_ids)
    refunds, sales = tx.among("sale_id", conversion_ids)
    return (
        f"SELECT id FROM conversions WHERE {own} UNION SELECT conversion_id FROM refunds WHERE {refunds}",
        (values, sales),
    )


def delivery_row(row: Any) -> dict[str, Any]:
    """A row of DELIVERY as a dictionary. Amount and customer come from the conversion and its person, because names and units
    in the payload depend on the format."""
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
        **about(json.loads(row[20]) if row[20] else {}, row[21], row[22]),
        "omitted": json.loads(row[23]) if row[23] else [],
        "note": row[24],
        "has_click": None if row[25] is None else bool(row[25]),
    }


def about(facts: dict[str, Any], customer_id: str | None, email: str | None) -> dict[str, Any]:
    """Amount, IDs and email of a conversion. email: of its person."""
    sale, refund = facts.get("sale"), facts.get("refund")
    worth = Money(refund["minor"], refund["currency"]) if refund else paid(sale) if sale else None
    return {
        "amount": json_number(worth.major) if worth else None,
        "currency": worth.currency if worth else None,
        "invoice_id": sale["invoice_id"] if sale else None,
        "customer_id": customer_id,
        "email": facts.get("email") or email,
        "refund": refund
        and {"id": refund["id"], "left": _major(refund["left"], refund), "restored": refund["is_restored"]},
    }


def paid(sale: dict[str, Any]) -> Money:
    """The amount of a Sale to show, from its facts: without tax if NET_OF_TAX was set when it was recorded."""
    tax = sale.get("tax", 0) if sale.get("is_net") else 0
    return Money(sale["minor"] - tax, sale["currency"])


def _major(minor: int, money: Mapping[str, Any]) -> int | float:
    return json_number(Money(minor, money["currency"]).major)


def event_rows(tx: Tx, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of EVENT as dictionaries, each with its amount, customer and email address if known, and the deliveries of its
    conversion (`sent`) with their `destinations`."""
    condition, value = tx.among("c.id", list({row[6] for row in rows if row[6] is not None}))
    statement = (
        "SELECT c.id, c.facts, p.customer_id, p.email FROM conversions c LEFT JOIN persons p ON p.id = c.person_id"
        f" WHERE {condition}"
    )
    conversions = {
        identity: about(json.loads(facts), customer, email)
        for identity, facts, customer, email in tx.run(statement, value).all()
    }
    sent: dict[int, list[dict[str, Any]]] = {}
    condition, value = tx.among("conversion_id", list(conversions))
    statement = f"SELECT conversion_id, id, destination, status, held FROM deliveries WHERE {condition} ORDER BY id"
    for identity, delivery, name, status, held in tx.run(statement, value).all():
        summary = {"id": delivery, "destination": name, "status": status, "held": bool(held)}
        sent.setdefault(identity, []).append(summary)
    events = []
    loose = _loose_contacts(tx, [row for row in rows if row[6] not in conversions])
    for row in rows:
        known = conversions.get(row[6], NOBODY)
        email = known["email"] or loose.get(row[0], (None, None))[1]
        customer = known["customer_id"] or loose.get(row[0], (None, None))[0]
        deliveries = sent.get(row[6], [])
        events.append(
            _event_row(row)
            | {"amount": known["amount"], "currency": known["currency"], "customer_id": customer, "email": email}
            | {"sent": deliveries, "destinations": [summary["destination"] for summary in deliveries]}
        )
    return events


NOBODY: dict[str, Any] = {"amount": None, "currency": None, "customer_id": None, "email": None}


def _loose_contacts(tx: Tx, rows: Sequence[Any]) -> dict[int, tuple[str | None, str | None]]:
    """Customer ID and email address of events without a conversion: those of their person, or those read from the body."""
    condition, value = tx.among("id", list({row[7] for row in rows if row[7] is not None}))
    statement = f"SELECT id, customer_id, email FROM persons WHERE {condition}"
    persons = {identity: (customer, email) for identity, customer, email in tx.run(statement, value).all()}
    condition, value = tx.among("event_id", [row[0] for row in rows])
    statement = f"SELECT event_id, COALESCE(given, value) FROM event_facts WHERE {condition} AND kind = 'email'"
    emails: dict[int, str] = {int(event): str(email) for event, email in tx.run(statement, value).all()}
    nobody = (None, None)
    return {
        row[0]: (persons.get(row[7], nobody)[0], emails.get(row[0]) or persons.get(row[7], nobody)[1]) for row in rows
    }


def _event_row(row: Any) -> dict[str, Any]:
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
