"""The wire formats: the whole payload of a full and of a bare Lead and Sale in each format."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.destinations.formats.base import Format, Options
from app.destinations.formats.registry import format_of
from app.model import Facts, Lead, Product, Sale
from app.money import Money
from app.times import iso_milliseconds
from tests.support.formats import OF_TRACK

AT = datetime(2026, 4, 10, 12, 34, 56, 789_999, tzinfo=UTC)
FULL: dict[str, Any] = {
    "occurred_at": AT,
    "customer_id": "user_1",
    "click_id": "clk_1",
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "phone": "+491701234567",
}
DOLLARS = Money(19999, "USD")
BARE: dict[str, Any] = {**dict.fromkeys(FULL), "occurred_at": AT, "customer_id": "cus_1"}


def fields(wire: str | Format, facts: Facts) -> dict[str, Any]:
    return (format_of(wire) if isinstance(wire, str) else wire).body(facts).fields


def sale(who: dict[str, Any] = FULL, money: Money = DOLLARS, **fields: Any) -> Facts:
    fields = {"order_id": "cs_1", "metadata": {"mode": "payment"}, **fields}
    return Facts(kind="sale", sale=Sale("in_1", money, **fields), source="stripe", **who)


def lead(who: dict[str, Any] = FULL, **fields: Any) -> Facts:
    return Facts(kind="lead", lead=Lead("tok_1", **{"metadata": {"source": "typeform"}, **fields}), **who)


def test_events_tells_all_of_a_sale() -> None:
    assert fields("events", sale()) == {
        "event": "sale",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "clickId": "clk_1",
        "customerExternalId": "user_1",
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "phone": "+491701234567",
        "currency": "USD",
        "amount": 199.99,
        "invoiceId": "in_1",
        "orderId": "cs_1",
        "metadata": {"mode": "payment"},
    }


def test_events_tells_all_of_a_lead() -> None:
    assert fields("events", lead(mode="deferred")) == {
        "event": "lead",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "clickId": "clk_1",
        "customerExternalId": "user_1",
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "phone": "+491701234567",
        "mode": "deferred",
        "metadata": {"source": "typeform"},
    }


def test_events_leaves_out_what_is_not_known() -> None:
    assert fields("events", lead(BARE, metadata={})) == {
        "event": "lead",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "customerExternalId": "cus_1",
    }
    assert fields("events", sale(BARE, order_id=None, metadata={})) == {
        "event": "sale",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "customerExternalId": "cus_1",
        "currency": "USD",
        "amount": 199.99,
        "invoiceId": "in_1",
    }


def test_track_tells_a_sale_in_the_unit_it_is_told() -> None:
    expected = {
        "clickId": "clk_1",
        "customerExternalId": "user_1",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "customerName": "Ada Lovelace",
        "customerEmail": "ada@example.com",
        "eventName": "checkout_completed",
        "invoiceId": "in_1",
        "amount": 199.99,
        "currency": "USD",
    }
    assert fields("track", sale()) == expected
    assert fields(format_of("track", Options("minor")), sale()) == {**expected, "amount": 19999}


def test_track_tells_a_lead() -> None:
    assert fields("track", lead(mode="deferred")) == {
        "clickId": "clk_1",
        "customerExternalId": "user_1",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "customerName": "Ada Lovelace",
        "customerEmail": "ada@example.com",
        "eventName": "form_submitted",
        "mode": "deferred",
    }
    assert "mode" not in fields("track", lead())


def test_dub_tells_a_sale_in_its_own_units() -> None:
    assert fields("dub", sale()) == {
        "clickId": "clk_1",
        "customerExternalId": "user_1",
        "customerName": "Ada Lovelace",
        "customerEmail": "ada@example.com",
        "eventName": "checkout_completed",
        "invoiceId": "in_1",
        "amount": 19999,
        "currency": "usd",
        "paymentProcessor": "stripe",
        "metadata": {"mode": "payment"},
    }


def test_dub_is_told_the_first_product_by_which_it_rewards() -> None:
    bought = sale(products=(Product("prod_1"), Product("prod_2")), promotion_codes=("promo_1",))
    metadata = fields("dub", bought)["metadata"]
    assert metadata == {"mode": "payment", "productId": "prod_1", "promotionCode": "promo_1"}


def test_dub_tells_a_lead_and_says_with_an_empty_click_id_that_there_is_none() -> None:
    rendered = fields("dub", lead(BARE, mode="deferred"))
    assert rendered == {
        "clickId": "",
        "customerExternalId": "cus_1",
        "eventName": "form_submitted",
        "mode": "deferred",
        "metadata": {"source": "typeform"},
    }
    assert "clickId" not in fields("dub", sale(BARE))


@pytest.mark.parametrize(
    ("money", "major"),
    [
        (Money(500, "JPY"), 500),
        (Money(1234, "KWD"), 1.234),
        (Money(19900, "USD"), 199),
        (Money(10, "EUR"), 0.1),
        (Money(30, "EUR"), 0.3),
        (Money(100, "ISK"), 1),
        (Money(99999999999999, "USD"), 999999999999.99),
    ],
)
def test_an_amount_is_the_number_people_would_write(money: Money, major: float) -> None:
    amount = fields("events", sale(money=money))["amount"]
    assert amount == major
    assert type(amount) is type(major)


@pytest.mark.parametrize("name", OF_TRACK)
def test_no_format_sends_null_or_empty_text(name: str) -> None:
    for facts in (sale(BARE, order_id=None, metadata={}), lead(BARE, metadata={})):
        rendered = fields(name, facts)
        blanks = {key for key, value in rendered.items() if value in (None, "", {})}
        assert blanks <= ({"clickId"} if name == "dub" else set())


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(KeyError):
        format_of("smoke signals")


def test_times_are_utc_with_milliseconds_cut_off() -> None:
    assert iso_milliseconds(AT) == "2026-04-10T12:34:56.789Z"
    assert iso_milliseconds(AT.replace(microsecond=999)) == "2026-04-10T12:34:56.000Z"
    east = timezone(timedelta(hours=5, minutes=30))
    assert iso_milliseconds(datetime(2026, 1, 1, 1, 0, tzinfo=east)) == "2025-12-31T19:30:00.000Z"
