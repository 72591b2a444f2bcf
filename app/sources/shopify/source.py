"""Shopify.

Signing: https://shopify.dev/docs/apps/build/webhooks/subscribe/https (base64 over the body).
Payload: https://shopify.dev/docs/api/webhooks (orders/paid, refunds/create). The topic is in a header alone. user_id is the
member of staff at the till and names no customer.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import refunded, sale
from app.sources.parse import from_iso, identifier_of, page_parameters, text_of
from app.sources.payment import (
    aliases_of,
    is_refused_test,
    keys_of,
    kind_of_id,
    money_of,
    named,
    object_in,
    products_in,
    refuse_test,
    remembered,
    total_of,
    total_paid,
)
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "shopify"
SCHEME = HmacScheme(header="X-Shopify-Hmac-Sha256", encoding="base64")
LINES = {
    "refund_line_items": ("subtotal_set", "total_tax_set"),
    "refund_shipping_lines": ("subtotal_amount_set",),
    "order_adjustments": ("amount_set", "tax_amount_set"),
}
"""Of a refund, with their amounts in both currencies."""
DISPUTES = ("disputes/create", "disputes/update")
ORDERS = ("orders/paid", "orders/create", "orders/updated", "orders/edited")


class Scheme:
    """Newer subscriptions call the header shopify-hmac-sha256."""

    newer = replace(SCHEME, header="shopify-hmac-sha256")

    def verify(self, inbound: Inbound, secrets: Any, now: Any) -> None:
        scheme = self.newer if self.newer.header in inbound.headers else SCHEME
        scheme.verify(inbound, secrets, now)

    def sign(self, body: bytes, secret: str, now: Any, *, url: str = "") -> dict[str, str]:
        return SCHEME.sign(body, secret, now, url=url)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    topic = event_name_of(inbound.headers.get("x-shopify-topic") or inbound.headers.get("shopify-topic"))
    topic = topic or ("refunds/create" if "order_id" in raw and "transactions" in raw else "orders/paid")
    customer, billing = dict_of(raw.get("customer")), dict_of(raw.get("billing_address"))
    view = Submission(
        event=topic,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(
            inbound.headers.get("x-shopify-event-id") or inbound.headers.get("x-shopify-webhook-id")
        ),
        occurred_at=from_iso(raw.get("processed_at")) or from_iso(raw.get("created_at")),
        hidden=named(raw.get("note_attributes")),
        page=page_parameters(_absolute(raw.get("landing_site"))),
        contact=Contact(
            email=customer.get("email") or raw.get("email") or raw.get("contact_email"),
            first=customer.get("first_name") or billing.get("first_name"),
            last=customer.get("last_name") or billing.get("last_name"),
            phone=customer.get("phone") or raw.get("phone") or billing.get("phone"),
        ),
        aliases=aliases_of(NAME, kind_of_id("customer", customer.get("id"))),
    )
    if is_refused_test(NAME, rules, raw.get("test")):
        return refuse_test(NAME, "Shopify", view, rules)
    if topic in ORDERS:
        return _order(view, raw, rules)
    if topic == "refunds/create":
        return _refund(view, raw)
    if topic in DISPUTES:
        return _dispute(view, raw)
    return remembered(view, f"{topic} is not a paid order", rules)


def _order(view: Submission, raw: dict[str, Any], rules: Rules) -> Mapped:
    """An order that is paid is one Sale, under whichever topic it comes."""
    if text_of(raw.get("financial_status")) != "paid":
        return remembered(view, "the order is not paid (financial_status)", rules)
    money = total_paid(raw.get("total_price"), raw.get("total_tax"), raw.get("currency"), "major")
    return sale(
        NAME,
        view,
        rules,
        money,
        keys=keys_of(raw.get("id"), raw.get("admin_graphql_api_id"), raw.get("checkout_token")),
        order_id=text_of(raw.get("name")),
        reason="a paid order",
        products=products_in(raw.get("line_items"), id="product_id", name="title"),
        promotion_codes=(discount.get("code") for discount in map(dict_of, list_of(raw.get("discount_codes")))),
    )


def _refund(view: Submission, raw: dict[str, Any]) -> Mapped:
    parts, currency = [], None
    for transaction in map(dict_of, list_of(raw.get("transactions"))):
        if text_of(transaction.get("kind")) == "refund" and text_of(transaction.get("status")) == "success":
            currency = transaction.get("currency")
            parts.append(money_of(transaction.get("amount"), currency, "major"))
    return refunded(
        view,
        _in_shop_money(total_of(parts, currency), raw),
        reference=kind_of_id("refund", raw.get("id")),
        keys=keys_of(raw.get("order_id")),
        status="success",
    )


def _dispute(view: Submission, raw: dict[str, Any]) -> Mapped:
    """A dispute of Shopify Payments as it now stands. An inquiry moves no money, and ends as a chargeback or a refund if any goes
    back."""
    is_inquiry = text_of(raw.get("type")) == "inquiry"
    return refunded(
        view,
        money_of(raw.get("amount"), raw.get("currency"), "major"),
        reference=kind_of_id("dispute", raw.get("id")),
        keys=keys_of(raw.get("order_id")),
        status="inquiry" if is_inquiry else text_of(raw.get("status")) or "unknown",
        kind="dispute",
    )


def _in_shop_money(back: Money | str, raw: dict[str, Any]) -> Money | str:
    """A refund in the currency of the shop, which is that of the Sale. Its transactions are in the buyer's, its lines in both: they
    say at what rate. https://shopify.dev/docs/api/admin-rest/latest/resources/refund"""
    if isinstance(back, str):
        return back
    shop, buyer, code = 0, 0, back.currency
    for amounts in _amounts_of_lines(raw):
        ours, theirs = (
            money_of(dict_of(amounts.get(name)).get("amount"), dict_of(amounts.get(name)).get("currency_code"), "major")
            for name in ("shop_money", "presentment_money")
        )
        if isinstance(ours, Money) and isinstance(theirs, Money) and theirs.currency == back.currency:
            shop, buyer, code = shop + abs(ours.minor), buyer + abs(theirs.minor), ours.currency
    if code == back.currency or shop <= 0 or buyer <= 0:
        return back
    return Money(round(Fraction(back.minor * shop, buyer)), code)


def _amounts_of_lines(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for lines, names in LINES.items():
        for line in map(dict_of, list_of(raw.get(lines))):
            yield from (dict_of(line.get(name)) for name in names)


def _absolute(page: Any) -> Any:
    """landing_site is a path with its query."""
    text = text_of(page)
    return f"https://shop{text}" if text and text.startswith("/") else text


VECTORS = (
    Vector(
        body=b'{"id":5001}',
        headers={"x-shopify-hmac-sha256": "igELE2rhBZ0P4PoRZUq15BWz5YjJZiHA7NVUW+ZwHWE="},
        secret="shopify-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: npm @shopify/shopify-api, lib/utils/hmac-validator.ts, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Shopify",
    Scheme(),
    read,
    vectors=VECTORS,
    set_up=SetUp(
        marks_tests=True, wrong_prefixes={"shpat_": "an access token (shpat_…)", "shpca_": "an access token (shpca_…)"}
    ),
)
