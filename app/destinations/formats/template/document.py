"""The documented facts of a conversion: what the expressions of a template read. Unknown facts are absent, never null.

docs/formats.md lists them. A name that stands here is a promise to every template.
"""

from collections.abc import Collection, Mapping
from typing import Any

from app.clicks import with_fbc
from app.destinations.formats.base import CLICKS
from app.destinations.formats.draft import event_name
from app.model import Facts, Lead, Sale
from app.money import Money, json_number
from app.times import iso_milliseconds

Shape = Any
"""What may be known: names with a Shape below them, a list of one Shape, or None for a value."""

SALE: Shape = {
    "invoice_id": None,
    "order_id": None,
    "amount": None,
    "tax": None,
    "currency": None,
    "event": None,
    "products": [{"id": None, "name": None, "quantity": None}],
    "promotion_codes": [None],
}
LEAD: Shape = {"id": None, "form": None, "event": None}
REFUND: Shape = {"id": None, "amount": None, "left": None}
BY_KIND: Mapping[str, Shape] = {
    "sale": {"sale": SALE},
    "lead": {"lead": LEAD},
    "refund": {"sale": SALE, "refund": REFUND},
}


def shape_of(kind: str, clicks: Collection[str] = CLICKS) -> Shape:
    """Every fact that may be known of a conversion of this kind. clicks: names of click ids beside `id`."""
    common = dict.fromkeys(("kind", "key", "at", "source", "customer_id", "email", "phone", "name"))
    return {**common, "click": dict.fromkeys(("id", *clicks)), **BY_KIND[kind]}


def document_of(facts: Facts, names: Mapping[str, str]) -> dict[str, Any]:
    """The facts as an object. names: what events are called instead, by their own names."""
    document: dict[str, Any] = {
        "kind": facts.kind,
        "key": facts.key,
        "at": iso_milliseconds(facts.occurred_at),
        "source": facts.source,
        "customer_id": facts.customer_id.strip(),
        "email": facts.email,
        "phone": facts.phone,
        "name": facts.name,
        "click": known({"id": facts.click_id, **{name: seen.value for name, seen in with_fbc(facts.clicks).items()}}),
    }
    if facts.sale is not None:
        document["sale"] = _sale(facts.sale) | {"event": event_name(facts, names)}
    if facts.lead is not None:
        document["lead"] = _lead(facts.lead) | {"event": event_name(facts, names)}
    if facts.refund is not None:
        amount, left = (json_number(money.major) for money in (facts.refund.amount, facts.refund.left))
        document["refund"] = {"id": facts.refund.refund_id, "amount": amount, "left": left}
    return known(document)


def _sale(sale: Sale) -> dict[str, Any]:
    return known(
        {
            "invoice_id": sale.invoice_id,
            "order_id": sale.order_id,
            "amount": json_number(sale.money.major),
            "currency": sale.money.currency,
            "tax": json_number(Money(sale.tax, sale.money.currency).major) if sale.tax else None,
            "products": [
                known({"id": product.id, "name": product.name, "quantity": product.quantity})
                for product in sale.products
            ],
            "promotion_codes": list(sale.promotion_codes),
        }
    )


def _lead(lead: Lead) -> dict[str, Any]:
    return known({"id": lead.lead_id, "form": str(lead.metadata.get("form") or "").strip()})


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in values.items() if value is not None and value not in ("", [], {})}


EXAMPLE: Mapping[str, Any] = {
    "key": "sale:stripe:in_987",
    "at": "2026-04-10T12:45:10.000Z",
    "source": "stripe",
    "customer_id": "user_123",
    "email": "ada@example.com",
    "phone": "+491701234567",
    "name": "Ada Lovelace",
    "click": {"id": "clk_1"},
    "sale": {
        "invoice_id": "in_987",
        "order_id": "cs_1",
        "amount": 199.5,
        "tax": 19.5,
        "currency": "USD",
        "event": "order_paid",
        "products": [{"id": "prod_1", "name": "Pro", "quantity": 1}],
        "promotion_codes": ["SUMMER"],
    },
    "lead": {"id": "tok_1", "form": "Demo", "event": "form_submitted"},
    "refund": {"id": "re_1", "amount": 50.5, "left": 149},
}
"""A conversion of which everything is known, of every kind at once."""


def example_of(kind: str, clicks: Collection[str] = CLICKS) -> dict[str, Any]:
    """A conversion of this kind of which everything is known: a template that fails for it is wrong."""
    shape = shape_of(kind, clicks)
    click = {name: EXAMPLE["click"].get(name, f"{name}_1") for name in shape["click"]}
    return {name: value for name, value in EXAMPLE.items() if name in shape} | {"kind": kind, "click": click}
