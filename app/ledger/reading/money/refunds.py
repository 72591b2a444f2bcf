"""Refunds and disputes of Sales, the amount left, and the deliveries that report them to destinations. Read only."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.ledger.reading.money.marks import Adjustment, adjustments, money_back, of_one_source
from app.ledger.reading.rows import deliveries_by_id
from app.ledger.transaction import Tx
from app.money import Money, json_number, tax_in
from app.times import iso


def marks(adjustments_of_sale: Sequence[Adjustment]) -> list[dict[str, Any]]:
    """Refunds and disputes of a conversion, oldest first, each once; amounts in minor units."""
    return [
        {
            "reference": mark.reference,
            "kind": mark.kind,
            "status": mark.status,
            "amount_minor": mark.minor,
            "currency": mark.currency,
            "at": iso(mark.at),
        }
        for mark in adjustments_of_sale
    ]


def left_of(adjustments_of_sale: Sequence[Adjustment], sale: Mapping[str, Any]) -> Money:
    """The amount left of a Sale (`sale` holds its facts), without its share of the tax if the Sale is shown without tax."""
    currency, tax = sale["currency"], sale.get("tax", 0) if sale.get("is_net") else 0
    back = of_one_source(money_back([mark for mark in adjustments_of_sale if mark.currency == currency]))
    left = max(0, sale["minor"] - sum(mark.minor for mark in back))
    return Money(left - tax_in(left, tax, sale["minor"]), currency)


def refunded(tx: Tx, conversion_ids: Sequence[int]) -> dict[int, Money]:
    """The money that buyers of these Sales got back, by conversion. Sales without a refund are left out."""
    by_sale: dict[int, list[Adjustment]] = {}
    for adjustment in adjustments(tx, conversion_ids):
        by_sale.setdefault(adjustment.conversion_id, []).append(adjustment)
    amounts = {}
    for sale, each in by_sale.items():
        back = of_one_source(money_back(each))
        total = sum(money.minor for money in back if money.currency == back[0].currency)
        if total > 0:
            amounts[sale] = Money(total, back[0].currency)
    return amounts


def adjusted(tx: Tx, conversion_ids: Sequence[int]) -> set[int]:
    """Those of these conversions that are refunds, or have refunds or disputes."""
    own, refund_ids = tx.among("conversion_id", conversion_ids)
    of_sale, sale_ids = tx.among("sale_id", conversion_ids)
    rows = tx.run(
        f"SELECT conversion_id FROM refunds WHERE {own} UNION SELECT sale_id FROM refunds WHERE {of_sale}",
        refund_ids,
        sale_ids,
    )
    return {*rows.scalars(), *(mark.conversion_id for mark in adjustments(tx, conversion_ids))}


def add_story(tx: Tx, delivery: dict[str, Any], sale: Mapping[str, Any] | None) -> None:
    """Adds what a delivery's page shows about refunds: `marks`, `net` (what is left of its Sale in major units, None if nothing
    was refunded), `refunds` (the deliveries of a Sale's refunds), and `sale` (for a refund, the ID of its Sale's delivery).

    sale: the facts of the Sale that the delivery is about.
    """
    statement = "SELECT sale_id FROM refunds WHERE conversion_id = ?"
    of = tx.run(statement, delivery["conversion_id"]).scalar()
    adjustments_of_sale = adjustments(tx, [of or delivery["conversion_id"]])
    delivery["marks"] = marks(adjustments_of_sale)
    delivery["net"] = None
    if adjustments_of_sale and sale:
        delivery["net"] = json_number(left_of(adjustments_of_sale, sale).major)
    statement = "SELECT id FROM deliveries WHERE conversion_id = ? AND destination = ?"
    delivery["sale"] = tx.run(statement, of, delivery["destination"]).scalar() if of else None
    rows = tx.run(
        "SELECT d.id FROM refunds r JOIN deliveries d ON d.conversion_id = r.conversion_id WHERE r.sale_id = ? ORDER BY d.id",
        delivery["conversion_id"],
    )
    delivery["refunds"] = deliveries_by_id(tx, list(rows.scalars()))[::-1]


def waits_for(tx: Tx, delivery: Mapping[str, Any]) -> int | None:
    """The delivery that a refund waits for: its Sale's, until that is delivered, or an earlier refund's. None if it does not
    wait."""
    if delivery["status"] not in ("pending", "retrying") or delivery["sending"]:
        return None
    delivery_id: int | None = tx.run(
        "SELECT e.id FROM refunds r JOIN refunds o ON o.sale_id = r.sale_id JOIN deliveries e ON e.destination = ?"
        " AND ((e.conversion_id = r.sale_id AND e.status <> 'delivered')"
        " OR (e.conversion_id = o.conversion_id AND e.due_at IS NOT NULL AND e.id < ?))"
        " WHERE r.conversion_id = ? ORDER BY e.id LIMIT 1",
        *(delivery["destination"], delivery["id"], delivery["conversion_id"]),
    ).scalar()
    return delivery_id


def by_reference(tx: Tx, sale_ids: Sequence[int]) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """The deliveries of the refunds of these Sales, by Sale and mark: id, status, held, destination."""
    condition, value = tx.among("r.sale_id", sale_ids)
    rows = tx.run(
        "SELECT r.sale_id, r.reference, d.id, d.status, d.held, d.destination FROM refunds r"
        f" JOIN deliveries d ON d.conversion_id = r.conversion_id WHERE {condition} ORDER BY d.id",
        value,
    ).all()
    deliveries: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for sale, reference, identity, status, held, destination in rows:
        delivery = {"id": identity, "status": status, "held": bool(held), "destination": destination}
        deliveries.setdefault((sale, reference), []).append(delivery)
    return deliveries
