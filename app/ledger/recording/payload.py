"""What is stored for a conversion until it is sent, and how its payload is rendered."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from app.clicks import chosen, values_of, with_fbc
from app.destinations.formats.base import Format
from app.ledger.recording.arrival import Conversion
from app.model import Facts, Lead, Mapped, Product, Refund, Rules, Sale, Who
from app.money import Money, tax_in
from app.persons import Person, shown_phone


def facts_of(mapped: Mapped, rules: Rules, who: Who) -> dict[str, Any]:
    """The facts of a conversion, stored as JSON until the payload is rendered. who: what its event says about its person,
    completed with other events of the same purchase."""
    sale = mapped.sale
    lead = mapped.lead
    clicks = {"clicks": dict(who.clicks)} if who.clicks else {}
    return clicks | {
        "click_id": who.click_id,
        "email": who.email,
        "name": who.name,
        "phone": shown_phone(who.phone, rules.phone_region),
        "sale": sale
        and {
            "invoice_id": sale.invoice_id,
            "minor": sale.money.minor,
            "currency": sale.money.currency,
            "order_id": sale.order_id,
            "event_name": sale.event_name,
            "metadata": dict(sale.metadata),
            **_details(sale, net_of_tax=rules.net_of_tax),
        },
        "lead": lead
        and {
            "lead_id": lead.lead_id,
            "event_name": lead.event_name,
            "mode": lead.mode,
            "metadata": dict(lead.metadata),
        },
    }


def _details(sale: Sale, *, net_of_tax: bool) -> dict[str, Any]:
    """What few Sales have: kept only where it says something."""
    if not (sale.products or sale.promotion_codes or sale.tax or net_of_tax):
        return {}
    details = {
        "products": [[product.id, product.name, product.quantity] for product in sale.products],
        "promotion_codes": list(sale.promotion_codes),
        "tax": sale.tax,
        "is_net": net_of_tax,
    }
    return {name: value for name, value in details.items() if value}


def render(
    conversion: Conversion, wire: Format, *, first_touch: bool, net_of_tax: bool = False, lowered: int = 0
) -> tuple[str, str | None]:
    """Renders the exact text to send for `conversion`, and what was left out of it (a JSON array of sentences, or None)."""
    assert conversion.person is not None
    person, facts = conversion.person.survivor(), conversion.facts
    body = wire.body(
        Facts(
            kind=conversion.kind,
            occurred_at=datetime.fromtimestamp(conversion.occurred_at / 1000, UTC),
            customer_id=person.customer_id or "",
            click_id=_click(person, facts, first_touch=first_touch),
            email=facts["email"] or person.email,
            name=facts["name"] or person.name,
            phone=facts["phone"] or person.phone,
            sale=_sale(facts["sale"], lowered, net_of_tax=net_of_tax),
            lead=Lead(**facts["lead"]) if facts["lead"] else None,
            refund=_refund(facts, lowered, net_of_tax=net_of_tax) if "refund" in facts else None,
            source=conversion.source,
            clicks=with_fbc(chosen(person.clicks, first_touch=first_touch)) if person.clicks else {},
            key=conversion.dedupe_key,
        )
    )
    return to_json(body.fields).decode(), to_json(body.omitted).decode() if body.omitted else None


def shown_of(person: Person) -> tuple[object, ...]:
    """Everything that `render` uses of a person. While it stays the same, so do all payloads."""
    clicks = (person.click_first, person.click_last, person.clicks)
    return (person.customer_id, *clicks, person.email, person.name, person.phone)


def click_ids_of(person: Person) -> frozenset[str]:
    """All click IDs that are known of a person, the main ones and those beside them."""
    beside = (value for _, value in values_of(person.clicks))
    return frozenset(value for value in (person.click_first, person.click_last, *beside) if value)


def _click(person: Person, facts: Mapping[str, Any], *, first_touch: bool) -> str | None:
    """The click ID to send with a conversion; None for the second event of a deferred Lead."""
    click = person.click_first if first_touch else person.click_last
    return None if facts.get("follows") else click or facts["click_id"]


def _refund(facts: Mapping[str, Any], lowered: int, *, net_of_tax: bool) -> Refund | None:
    kept, sale = facts.get("refund"), facts.get("sale")
    if not kept or not sale:
        return None
    tax = sale.get("tax", 0) if net_of_tax else 0

    def money(minor: int) -> Money:
        """The same share of the tax is taken off as of the Sale."""
        return Money(minor - tax_in(minor, tax, sale["minor"]), kept["currency"])

    amount, left, sale_amount = money(kept["minor"]), money(kept["left"]), money(kept["of"] - lowered)
    return Refund(kept["id"], amount, left, sale_amount, kept["is_restored"])


def _sale(kept: dict[str, Any] | None, lowered: int, *, net_of_tax: bool) -> Sale | None:
    if not kept:
        return None
    money, tax = Money(kept["minor"] - lowered, kept["currency"]), kept.get("tax", 0)
    products = kept.get("products")
    if products is None:  # a version before kept only their IDs
        products = [[product] for product in kept["product_ids"]] if "product_ids" in kept else ()
    sale = Sale(
        kept["invoice_id"],
        money,
        kept["order_id"],
        kept["event_name"],
        kept["metadata"],
        tuple([Product(*product) for product in products]) if products else (),
        tuple(kept.get("promotion_codes", ())),
        tax_in(money.minor, tax, kept["minor"]) if tax else 0,
    )
    return sale.net if net_of_tax else sale
