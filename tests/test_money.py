"""Stripe's minor units, which are not ISO 4217's: every code of https://docs.stripe.com/currencies that is special."""

from decimal import Decimal

import pytest

from app.money import LARGEST_MINOR, Money, amount_text, currency_code, from_iso_minor, from_major, json_number

WHOLE = ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
THOUSANDTHS = ["BHD", "JOD", "KWD", "OMR", "TND"]
TRAPS = ["ISK", "UGX", "HUF", "TWD"]
"""No coins of that size, or other units in ISO 4217, and yet hundredths on the wire."""
ORDINARY = ["USD", "EUR", "GBP", "BRL", "INR", "MXN", "PLN", "SEK", "CHF", "AED"]


@pytest.mark.parametrize(
    ("currency", "minor", "major"),
    [
        *((code, 500, "500") for code in WHOLE),
        *((code, 12345, "12.345") for code in THOUSANDTHS),
        *((code, 500, "5") for code in TRAPS),
        *((code, 19999, "199.99") for code in TRAPS + ORDINARY),
    ],
)
def test_minor_and_major_units_agree_in_both_directions(currency: str, minor: int, major: str) -> None:
    money = Money(minor, currency)
    assert money.major == Decimal(major)
    assert from_major(major, currency) == money
    assert from_major(json_number(money.major), currency) == money


def test_the_lists_overlap_nowhere() -> None:
    every = WHOLE + THOUSANDTHS + TRAPS + ORDINARY
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("currency", WHOLE)
def test_a_currency_of_whole_units_takes_no_decimals(currency: str) -> None:
    with pytest.raises(ValueError, match="decimals"):
        from_major("5.5", currency)


@pytest.mark.parametrize("currency", THOUSANDTHS)
def test_a_currency_of_thousandths_takes_three_decimals_and_not_four(currency: str) -> None:
    assert from_major("1.234", currency) == Money(1234, currency)
    with pytest.raises(ValueError, match="decimals"):
        from_major("1.2345", currency)


@pytest.mark.parametrize("currency", TRAPS)
def test_a_trap_currency_takes_two_decimals_and_not_three(currency: str) -> None:
    assert from_major("1.23", currency) == Money(123, currency)
    with pytest.raises(ValueError, match="decimals"):
        from_major("1.234", currency)


@pytest.mark.parametrize("minor", [1, 10, 29, 57, 110, 1999, 19999, 100000001, 999999999999])
def test_a_json_amount_has_no_float_noise(minor: int) -> None:
    for currency in ("USD", "JPY", "KWD"):
        money = Money(minor, currency)
        assert Decimal(str(json_number(money.major))) == money.major


def test_a_whole_amount_is_a_whole_json_number() -> None:
    assert repr(json_number(Money(50000, "USD").major)) == "500"
    assert repr(json_number(Money(500, "JPY").major)) == "500"


NO_AMOUNTS = [
    "",
    "abc",
    "1,5",
    "1.234,56",
    "1,234.56",
    "$12",
    "12 USD",
    "1_000",
    "\u0661\u0662",
    "NaN",
    "Infinity",
    "--1",
    ".",
]


@pytest.mark.parametrize("sum_of", [(0.1, 0.2), (19.99, 19.99, 19.99), (29.99,) * 10, (1e9, 0.1, 0.2), (-0.1, -0.2)])
def test_a_sum_of_binary_numbers_is_the_amount_that_it_stands_for(sum_of: tuple[float, ...]) -> None:
    total = sum(sum_of)
    assert from_major(total, "EUR") == from_major(f"{total:.2f}", "EUR")


@pytest.mark.parametrize("amount", [0.001, 19.999, 19.9900001, 500.5, "19.990000000000002"])
def test_real_decimals_are_no_noise(amount: object) -> None:
    with pytest.raises(ValueError, match="decimals"):
        from_major(amount, "JPY" if amount == 500.5 else "EUR")


@pytest.mark.parametrize(
    "text",
    [*NO_AMOUNTS, None, True, [], {}, str(LARGEST_MINOR * 10), "1e999", "1e-999"],
)
def test_what_is_no_amount_is_a_value_error(text: object) -> None:
    with pytest.raises(ValueError):
        from_major(text, "USD")


@pytest.mark.parametrize(("text", "code"), [("usd", "USD"), (" Eur ", "EUR"), ("JPY", "JPY")])
def test_a_currency_code_is_upper_case(text: str, code: str) -> None:
    assert currency_code(text) == code


@pytest.mark.parametrize("text", ["", "us", "usdd", "u1d", "€€€", None, 978, ["usd"], "éur"])
def test_what_is_no_currency_code_is_none(text: object) -> None:
    assert currency_code(text) is None


@pytest.mark.parametrize(
    ("minor", "currency", "major"),
    [
        (500, "ISK", "500"),
        (5000, "UGX", "5000"),
        (500, "JPY", "500"),
        (1999, "USD", "19.99"),
        (1234, "KWD", "1.234"),
        (1234, "IQD", "1.234"),
        (1234, "LYD", "1.234"),
        (50000, "MGA", "500"),
        (1999, "HUF", "19.99"),
    ],
)
def test_iso_units_are_read_as_other_providers_count_them(minor: int, currency: str, major: str) -> None:
    assert from_iso_minor(minor, currency).major == Decimal(major)


def test_an_iso_amount_that_our_unit_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="decimals"):
        from_iso_minor(50020, "MGA")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (4900, "JPY", "4,900 JPY"),
        (Decimal("1999"), "USD", "1,999.00 USD"),
        (49.5, "EUR", "49.50 EUR"),
        (174.8, "USD", "174.80 USD"),
        (1.5, "KWD", "1.500 KWD"),
        ("49,50 or so", "EUR", "49,50 or so EUR"),
        ("4900", None, "4900"),
    ],
)
def test_people_see_every_amount_in_one_way(amount: Decimal | float | str, currency: str | None, text: str) -> None:
    assert amount_text(amount, currency) == text
    if currency and not isinstance(amount, str):
        assert from_major(amount, currency).text == text
