"""Sales and their deliveries to each destination, to reconcile with other systems. Read only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.ledger.transaction import Tx
from app.money import Money


@dataclass(frozen=True, slots=True)
class Sold:
    """A counted Sale. deliveries: (id, status, last error) by destination."""

    conversion_id: int
    source: str
    dedupe_key: str
    invoice_id: str
    money: Money
    occurred_at: int
    deliveries: dict[str, tuple[int, str, str | None]] = field(default_factory=dict)


def sales_since(tx: Tx, since: int) -> list[Sold]:
    """Sales of purchases since `since` (ms), oldest first, without those whose person was forgotten."""
    statement = "SELECT id FROM conversions WHERE kind = 'sale' AND state = 'counted' AND occurred_at >= ? ORDER BY id"
    return sales_by_id(tx, list(tx.run(statement, since).scalars()))


def sales_by_id(tx: Tx, conversion_ids: Sequence[int]) -> list[Sold]:
    condition, value = tx.among("c.id", conversion_ids)
    sales: dict[int, Sold] = {}
    for identity, source, key, occurred_at, facts, delivery, name, status, error in tx.run(
        "SELECT c.id, c.source, c.dedupe_key, c.occurred_at, c.facts, d.id, d.destination, d.status, d.last_error"
        f" FROM conversions c LEFT JOIN deliveries d ON d.conversion_id = c.id WHERE {condition} ORDER BY c.id, d.id",
        value,
    ).all():
        if identity not in sales:
            sale = json.loads(facts).get("sale")
            if not sale:
                continue
            money = Money(sale["minor"], sale["currency"])
            sales[identity] = Sold(identity, source, key, sale["invoice_id"], money, occurred_at)
        if delivery is not None:
            sales[identity].deliveries[name] = (delivery, status, error)
    return list(sales.values())
