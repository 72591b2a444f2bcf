"""What is bought, with which promotion codes, and how much of the amount is tax: of every source whose bodies say so."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.model import Inbound, Product, Rules, Sale
from app.sources.catalog import SOURCES
from tests.sources.test_fixtures import FIXTURES, inbound_of

Body = dict[str, Any]
LINES = [
    {"product_id": 7, "title": "Pro", "name": "Pro", "quantity": 2},
    {"product_id": None, "title": "Gift card", "name": "Gift card", "quantity": 1},
]
PRO = Product("7", "Pro", 2)


def shopify(body: Body) -> None:
    body |= {"line_items": LINES, "discount_codes": [{"code": "SUMMER"}, {"code": "SUMMER"}]}


def woocommerce(body: Body) -> None:
    body |= {"line_items": LINES, "coupon_lines": [{"code": "SUMMER"}]}


def paddle(body: Body) -> None:
    price = {"product_id": "pro_1", "name": "Pro"}
    body["data"] |= {"items": [{"quantity": 2, "price": price}], "discount_id": "dsc_1"}


def polar(body: Body) -> None:
    body["data"] |= {"product": {"id": "p1", "name": "Pro"}, "discount": {"code": "SUMMER"}}


def lemonsqueezy(body: Body) -> None:
    body["data"]["attributes"]["first_order_item"] = {"product_id": 7, "product_name": "Pro", "quantity": 2}


def dodo(body: Body) -> None:
    body["data"] |= {"product_cart": [{"product_id": "pdt_1", "quantity": 2}], "discount_id": "dsc_1"}


def whop(body: Body) -> None:
    body["data"] |= {"product": {"id": "prod_1", "title": "Pro"}, "promo_code": {"code": "SUMMER"}}


def creem(body: Body) -> None:
    body["object"] |= {"product": {"id": "prod_1", "name": "Pro"}, "discount": {"code": "SUMMER"}}


def chargebee(body: Body) -> None:
    line = {"entity_id": "pro-EUR", "description": "Pro", "quantity": 2}
    amount = body["content"]["transaction"]["amount"]
    body["content"].setdefault("invoice", {})
    body["content"]["invoice"] |= {"line_items": [line], "total": amount, "tax": 100}


@pytest.mark.parametrize(
    ("fixture", "change", "products", "codes"),
    [
        ("shopify/order", shopify, (PRO, Product(None, "Gift card", 1)), ("SUMMER",)),
        ("woocommerce/order", woocommerce, (PRO, Product(None, "Gift card", 1)), ("SUMMER",)),
        ("paddle/transaction", paddle, (Product("pro_1", "Pro", 2),), ("dsc_1",)),
        ("polar/order", polar, (Product("p1", "Pro"),), ("SUMMER",)),
        ("lemonsqueezy/order", lemonsqueezy, (Product("7", "Pro", 2),), ()),
        ("dodo/payment_in_yen", dodo, (Product("pdt_1", None, 2),), ("dsc_1",)),
        ("whop/payment", whop, (Product("prod_1", "Pro"),), ("SUMMER",)),
        ("creem/checkout", creem, (Product("prod_1", "Pro"),), ("SUMMER",)),
        ("chargebee/payment", chargebee, (Product("pro-EUR", "Pro", 2),), ()),
    ],
)
def test_a_payment_tells_its_products_and_promotion_codes(
    fixture: str, change: Callable[[Body], None], products: tuple[Product, ...], codes: tuple[str, ...]
) -> None:
    sale = sale_of(fixture, change)
    assert (sale.products, sale.promotion_codes) == (products, codes)
    assert sale.metadata.get("discount_codes", []) == list(codes)


@pytest.mark.parametrize(
    "fixture",
    ["shopify/order", "woocommerce/order", "paddle/transaction", "polar/order", "lemonsqueezy/order", "creem/checkout"],
)
def test_a_payment_tells_its_tax_beside_what_was_paid(fixture: str) -> None:
    sale = sale_of(fixture, lambda _body: None)
    assert 0 < sale.tax < sale.money.minor
    assert sale.net.money.minor == sale.money.minor - sale.tax


def test_a_session_tells_the_promotion_code_that_its_buyer_used() -> None:
    def change(body: Body) -> None:
        expanded = {"promotion_code": {"id": "promo_2", "code": "SUMMER"}}
        body["data"]["object"]["discounts"] = [{"coupon": None, "promotion_code": "promo_1"}, expanded, {"coupon": "c"}]

    sale = sale_of("stripe/checkout_payment", change)
    assert sale.promotion_codes == ("promo_1", "SUMMER")
    assert sale.metadata["discount_codes"] == ["promo_1", "SUMMER"]


def sale_of(fixture: str, change: Callable[[Body], None]) -> Sale:
    name, _, file = fixture.partition("/")
    inbound = inbound_of(FIXTURES / name / "fixtures" / f"{file}.json")
    body = json.loads(inbound.body)
    change(body)
    mapped = SOURCES[name].map(Inbound(json.dumps(body).encode(), inbound.headers), Rules(accept_test_events=True))
    assert mapped.sale is not None, mapped.reason
    return mapped.sale
