"""A purchase: the ids that name it, its money, and the one way in which it becomes a Sale."""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from app.model import Hold, Mapped, Rules, Sale, Who
from app.money import Money, currency_code
from app.sources.parse import text_of
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, id_of, integer_of, object_of, objects_of

MOST_PRODUCTS = 20
LONGEST_PRODUCT_NAME = 200


def gather_keys(
    *, invoice: str | None = None, intent: str | None = None, session: str | None = None, charge: str | None = None
) -> tuple[str, ...]:
    """The ids of one purchase, the invoiceId to send first: in_, else pi_, else cs_, else ch_."""
    return tuple(key for key in (invoice, intent, session, charge) if key)


def make_sale(
    event: StripeEvent,
    *,
    minor: object,
    currency: object,
    keys: tuple[str, ...],
    who: Who,
    reason: str,
    event_name: str,
    lines: object = None,
    occurred_at: datetime | None = None,
    hold: Hold = "none",
    completes_identity: bool = False,
    completes_details: bool = False,
    key_prefixes: tuple[str, ...] = (),
) -> Mapped:
    """The Sale of `minor` units; ignored where that is nothing or less, parked where it cannot be read as money."""
    common: dict[str, Any] = {"keys": keys, "key_prefixes": key_prefixes, "completes_identity": completes_identity}
    common["completes_details"] = completes_details
    amount, code = integer_of(minor), currency_code(currency)
    if amount is not None and amount <= 0:
        return event.ignore("no money was collected: the amount is not above 0", who=who, **common)
    problem = None
    if amount is None:
        problem = "the amount is not a whole number of a sensible size"
    elif code is None:
        problem = "the currency is missing or no ISO 4217 code"
    elif not keys:
        problem = "the object has no id"
    if amount is None or code is None or problem:
        return event.answer(outcome="parked", reason=f"it cannot be a Sale: {problem}", who=who, **common)
    sale = Sale(
        keys[0],
        Money(amount, code),
        event_name=event_name,
        metadata=list_products(lines),
        product_ids=product_ids_of(lines),
    )
    when = occurred_at or event.created
    return event.answer(outcome="sale", reason=reason, who=who, sale=sale, occurred_at=when, hold=hold, **common)


def session_money(session: JsonObject, rules: Rules) -> tuple[object, object]:
    """(amount, currency) of a Checkout session, as sent and unchecked, in the merchant's own currency: sessions before
    2025-03-31 under adaptive pricing hold the buyer's, with the merchant's in currency_conversion.
    https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-currency_conversion"""
    total, currency = session.get("amount_total"), session.get("currency")
    shown = integer_of(total)
    tax = integer_of(object_of(session.get("total_details")).get("amount_tax")) or 0
    net = shown - tax if shown is not None and rules.net_of_tax else shown
    conversion = object_of(session.get("currency_conversion"))
    source = integer_of(conversion.get("amount_total"))
    if source is not None and currency_code(conversion.get("source_currency")):
        currency = conversion["source_currency"]
        if net != shown and shown and net is not None:
            # The tax is given in the buyer's currency alone; the share of it is the same in both.
            share = Decimal(source) * net / shown
            return int(share.to_integral_value(ROUND_HALF_EVEN)), currency
        return source, currency
    return (total if net is None else net), currency


def invoice_money(invoice: JsonObject, rules: Rules) -> tuple[object, object]:
    """(amount, currency) of an invoice, as sent and unchecked. Net of tax only where all of it was paid: the tax in a
    part, or in what a credit left over, is not given."""
    paid, total = paid_of(invoice), integer_of(invoice.get("total"))
    if rules.net_of_tax and total is not None and integer_of(paid) == total:
        return _untaxed(invoice, total), invoice.get("currency")
    return paid, invoice.get("currency")


def paid_of(invoice: JsonObject) -> object:
    """What was paid with an invoice, as sent and unchecked; None where it does not say.

    Old renderings (2018 and before) have no amount_paid. There, amount_due is what was charged, with credit already taken off, and
    `paid` says whether it was; a forgiven invoice was closed without money.
    """
    paid = invoice.get("amount_paid")
    if paid is not None:
        return paid
    is_paid = invoice.get("paid") is True or invoice.get("status") == "paid"
    return invoice.get("amount_due") if is_paid and invoice.get("forgiven") is not True else None


def _untaxed(invoice: JsonObject, total: int) -> int:
    untaxed = integer_of(invoice.get("total_excluding_tax"))
    if untaxed is not None:
        return untaxed
    tax = integer_of(invoice.get("tax"))
    if tax is None:
        # Basil has total_taxes, what was before it total_tax_amounts.
        parts = objects_of(invoice.get("total_taxes")) or objects_of(invoice.get("total_tax_amounts"))
        tax = sum(integer_of(part.get("amount")) or 0 for part in parts)
    return total - tax


def list_products(lines: object) -> dict[str, Any]:
    """{"products": [{"name", "quantity"}]} of invoice lines or line items, {} where none has a name."""
    products: list[dict[str, Any]] = []
    for line in objects_of(lines)[:MOST_PRODUCTS]:
        name = next((text for value in _names(line) if (text := text_of(value))), None)
        if name:
            quantity = integer_of(line.get("quantity"))
            products.append(
                {"name": name[:LONGEST_PRODUCT_NAME]} | ({} if quantity is None else {"quantity": quantity})
            )
    return {"products": products} if products else {}


def product_ids_of(lines: object) -> tuple[str, ...]:
    """The products (prod_…) of invoice lines or line items, each once."""
    found = (_product_id(line) for line in objects_of(lines)[:MOST_PRODUCTS])
    return tuple(dict.fromkeys(one for one in found if one))


def _product_id(line: JsonObject) -> str | None:
    """Basil has pricing, what was before it price, and older versions plan."""
    details = object_of(object_of(line.get("pricing")).get("price_details"))
    holders = (details, object_of(line.get("price")), object_of(line.get("plan")))
    return next((found for holder in holders if (found := id_of(holder.get("product")))), None)


def _names(line: JsonObject) -> Iterable[object]:
    price, plan = object_of(line.get("price")), object_of(line.get("plan"))
    product = object_of(price.get("product"))
    return line.get("description"), product.get("name"), price.get("nickname"), plan.get("nickname"), plan.get("name")
