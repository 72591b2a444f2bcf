"""A purchase: the ids that name it, its money, and the one way in which it becomes a Sale."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from app.model import Draft, Hold, Mapped, Product, Sale, Who
from app.money import Money, currency_code, plausible_tax
from app.sources.outcomes import NOTHING, described
from app.sources.parse import text_of
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, id_of, integer_of, object_of, objects_of

MOST_PRODUCTS = 20
LONGEST_PRODUCT_NAME = 200


def gather_keys(
    *, invoice: str | None = None, intent: str | None = None, session: str | None = None, charge: str | None = None
) -> tuple[str, ...]:
    """The ids of one purchase, the invoiceId to send first: in_, else pi_, else cs_, else ch_."""
    return tuple([key for key in (invoice, intent, session, charge) if key])


def make_sale(
    event: StripeEvent,
    *,
    minor: object,
    currency: object,
    keys: tuple[str, ...],
    who: Who,
    reason: str,
    event_name: str,
    tax: int = 0,
    lines: object = None,
    discounts: Iterable[object] = (),
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
        lacks = (*(("id",) * (not keys)), *(("amount",) * (amount is None)), *(("currency",) * (code is None)))
        sale = _sale_of(NOTHING, keys, event_name, lines, discounts, tax)
        draft = Draft(lacks, sale, minor, tax, "stripe", code, reason)
        return event.answer(outcome="parked", reason=f"it cannot be a Sale: {problem}", who=who, draft=draft, **common)
    sale = _sale_of(Money(amount, code), keys, event_name, lines, discounts, tax)
    when = occurred_at or event.created
    return event.answer(outcome="sale", reason=reason, who=who, sale=sale, occurred_at=when, hold=hold, **common)


def _sale_of(
    money: Money, keys: Sequence[str], event_name: str, lines: object, discounts: Iterable[object], tax: int
) -> Sale:
    products, codes = products_of(lines), promotion_codes_of(discounts)
    return Sale(
        keys[0] if keys else "",
        money,
        event_name=event_name,
        metadata=described(products, codes),
        products=products,
        promotion_codes=codes,
        tax=plausible_tax(tax, money.minor),
    )


def session_money(session: JsonObject) -> tuple[object, object, int]:
    """(amount, currency, tax in it) of a Checkout session, as sent and unchecked, in the merchant's own currency: sessions before
    2025-03-31 under adaptive pricing hold the buyer's, with the merchant's in currency_conversion.
    https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-currency_conversion"""
    total, currency = session.get("amount_total"), session.get("currency")
    shown = integer_of(total)
    tax = integer_of(object_of(session.get("total_details")).get("amount_tax")) or 0
    conversion = object_of(session.get("currency_conversion"))
    source = integer_of(conversion.get("amount_total"))
    if source is None or not currency_code(conversion.get("source_currency")):
        return total, currency, tax if shown is not None else 0
    if tax and shown:
        # The tax is given in the buyer's currency alone; the share of it is the same in both.
        net = Decimal(source) * (shown - tax) / shown
        tax = source - int(net.to_integral_value(ROUND_HALF_EVEN))
    return source, conversion["source_currency"], tax if shown else 0


def invoice_money(invoice: JsonObject) -> tuple[object, object, int]:
    """(amount, currency, tax in it) of an invoice, as sent and unchecked. The tax is known only where all of the invoice was paid:
    that in a part, or in what a credit left over, is not given."""
    paid, total = paid_of(invoice), integer_of(invoice.get("total"))
    tax = total - _untaxed(invoice, total) if total is not None and integer_of(paid) == total else 0
    return paid, invoice.get("currency"), tax


def paid_of(invoice: JsonObject) -> object:
    """What was paid with an invoice, as sent and unchecked; None if it does not say.

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


def products_of(lines: object) -> tuple[Product, ...]:
    """What invoice lines or line items say of products (prod_…)."""
    if not lines:
        return ()
    bought = (
        Product(
            _product_id(line),
            next((text[:LONGEST_PRODUCT_NAME] for value in _names(line) if (text := text_of(value))), None),
            integer_of(line.get("quantity")),
        )
        for line in objects_of(lines)[:MOST_PRODUCTS]
    )
    return tuple(product for product in bought if product.id or product.name)


def promotion_codes_of(discounts: Iterable[object]) -> tuple[str, ...]:
    """The codes of discounts, which a session names itself, and an invoice where they are expanded. Webhooks expand no promotion
    code, so it is its id (promo_…) that they name.
    https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-discounts"""
    codes: list[str | None] = []
    for discount in discounts:
        code = object_of(discount).get("promotion_code")
        codes.append(text_of(object_of(code).get("code")) or id_of(code))
    return tuple(dict.fromkeys(code for code in codes if code))


def _product_id(line: JsonObject) -> str | None:
    """Basil has pricing, what was before it price, and older versions plan."""
    details = object_of(object_of(line.get("pricing")).get("price_details"))
    holders = (details, object_of(line.get("price")), object_of(line.get("plan")))
    return next((product for holder in holders if (product := id_of(holder.get("product")))), None)


def _names(line: JsonObject) -> Iterable[object]:
    price, plan = object_of(line.get("price")), object_of(line.get("plan"))
    product = object_of(price.get("product"))
    return line.get("description"), product.get("name"), price.get("nickname"), plan.get("nickname"), plan.get("name")
