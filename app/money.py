"""Money as whole minor units, and the one table that says how many of them make a major unit.

The unit is Stripe's, which is not ISO 4217's: https://docs.stripe.com/currencies#minor-units
ISK, UGX, HUF and TWD are sent in hundredths although they have no coins of that size.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

WHOLE = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
THOUSANDTHS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
"""IQD and LYD are not Stripe's; they have three decimals too."""
ISO_EXPONENTS = {
    **dict.fromkeys(WHOLE - {"MGA"} | {"ISK", "UGX", "UYI"}, 0),
    **dict.fromkeys(THOUSANDTHS, 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""How many decimals ISO 4217's minor unit of a currency stands for; 2 for every other."""
LARGEST_MINOR = 10**15
"""Beyond this a JSON number loses digits in a reader that uses doubles; no real payment comes near it."""

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
NO_NUMBER = "the amount is not a number, such as 149.50: digits, and a point before the decimals"
BINARY_NOISE = Decimal("1e-12")
"""How far, in proportion, a few sums of doubles may lie from the decimal that they stand for."""


def decimals(currency: str) -> int:
    """How many decimals Stripe's minor unit of `currency` (upper case) stands for: 0, 2 or 3."""
    if currency in WHOLE:
        return 0
    return 3 if currency in THOUSANDTHS else 2


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (Stripe's) of an upper-case ISO 4217 currency code."""

    minor: int
    currency: str

    @property
    def major(self) -> Decimal:
        """The amount in major units, exactly: 19999 USD is 199.99, 500 JPY is 500."""
        places = decimals(self.currency)
        return Decimal(self.minor).scaleb(-places) if places else Decimal(self.minor)

    @property
    def number(self) -> int | float:
        """The amount in major units as a JSON number: 500 and not 500.0, 199.99 with no float noise."""
        unit: int = 10 ** decimals(self.currency)
        return self.minor / unit if self.minor % unit else self.minor // unit

    @property
    def text(self) -> str:
        """The amount for people: "1,999.00 USD"."""
        return amount_text(self.major, self.currency)


@dataclass(frozen=True, slots=True)
class Payment(Money):
    """An amount that includes `tax` (in the same minor units)."""

    tax: int = 0


def currency_code(text: object) -> str | None:
    """The upper-case ISO code in `text`, or None where it is none."""
    if not isinstance(text, str):
        return None
    code = text.strip().upper()
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None


def from_iso_minor(minor: int, currency: str) -> Money:
    """Reads ISO 4217's minor unit, as providers other than Stripe count: 500 ISK is 500 crowns.

    Raises ValueError where that is a fraction that our unit of the currency cannot hold.
    """
    return from_major(Decimal(minor).scaleb(-ISO_EXPONENTS.get(currency, 2)), currency)


def from_major(text: object, currency: str) -> Money:
    """Reads "199.99", 199.99 or Decimal as major units. Raises ValueError where it is not an exact amount of that currency.

    A JSON number that was computed in binary (59.97000000000001) is the amount that it stands for.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float | Decimal):
        raise ValueError(NO_NUMBER)
    if isinstance(text, str) and not NUMBER.fullmatch(text):
        raise ValueError(NO_NUMBER)
    amount = Decimal(repr(text) if isinstance(text, float) else text)
    if not amount.is_finite() or abs(amount) > LARGEST_MINOR:
        raise ValueError("the amount is not a finite number of a sensible size")
    minor = amount.scaleb(decimals(currency))
    nearest = minor.to_integral_value()
    if isinstance(text, float) and abs(minor - nearest) <= abs(minor) * BINARY_NOISE:
        minor = nearest
    if minor != nearest:
        raise ValueError(f"the amount has more decimals than {currency} has")
    return Money(int(minor), currency)


def amount_text(amount: float | Decimal | str, currency: str | None) -> str:
    """An amount in major units for people: "1,999.00 USD", with all decimals of its currency.

    One that could not be read, or has no currency, stays as it came.
    """
    if isinstance(amount, str) or currency is None:
        return f"{amount} {currency}" if currency else str(amount)
    return f"{amount:,.{decimals(currency)}f} {currency}"


def json_number(amount: Decimal) -> int | float:
    """`amount` as the JSON number that reads the same: 500 and not 500.0, 199.99 with no float noise."""
    if amount == amount.to_integral_value():
        return int(amount)
    return float(amount)


def plausible_tax(tax: int, minor: int) -> int:
    """`tax` if it can be a part of an amount of `minor`, else 0: what is left without it would be nothing, less, or more than was
    paid."""
    return tax if 0 < tax < minor else 0


def tax_in(minor: int, tax: int, of: int) -> int:
    """How much of `tax`, which is in an amount of `of`, is in `minor` of it; a half goes to the even one."""
    return round(Fraction(tax * minor, of)) if tax and of else 0
