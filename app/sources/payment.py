"""What sources of payments share: an amount in the provider's unit, the ids by which it knows a person, test payments."""

from typing import Any, Literal

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Product, Rules
from app.money import LARGEST_MINOR, Money, Payment, currency_code, from_iso_minor, from_major
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import MOST_PRODUCTS, Keys, Missing, ignored
from app.sources.parse import identifier_of, parse_json, text_of
from app.sources.submission import Submission, who_of

LONGEST_TITLE = 200
NO_CURRENCY = "the currency is missing or no ISO 4217 code"
Unit = Literal["major", "stripe", "iso", "cents"]
"""major: decimal text or number. stripe: its minor unit. iso: ISO 4217's minor unit. cents: hundredths, whatever the currency."""


def object_in(inbound: Inbound) -> dict[str, Any]:
    """The JSON object in the body, with its numbers as they are written. Raises MalformedEvent."""
    value = parse_json(inbound.body)
    if not isinstance(value, dict):
        raise MalformedEvent("the body is JSON but no object")
    return value


def money_of(amount: Any, currency: Any, unit: Unit) -> Money | str:
    """The money, or what is wrong with it, for people (a Missing)."""
    code = currency_code(currency)
    if code is None:
        lacks = ["currency"] if _is_amount(amount, unit) else ["amount", "currency"]
        return Missing.money(NO_CURRENCY, *lacks, amount=amount, unit=unit, currency=None)
    try:
        return _read(amount, code, unit)
    except ValueError as error:
        return Missing.money(str(error), "amount", amount=amount, unit=unit, currency=code)


def _read(amount: Any, code: str, unit: Unit) -> Money:
    """Raises ValueError with what is wrong, for people."""
    if amount is None or amount == "":
        raise ValueError("it has no amount")
    if unit == "major":
        return from_major(amount.strip() if isinstance(amount, str) else amount, code)
    minor = whole(amount)
    if minor is None:
        raise ValueError("the amount is not a whole number of a sensible size")
    if unit == "iso":
        return from_iso_minor(minor, code)
    return from_major(f"{minor}e-2", code) if unit == "cents" else Money(minor, code)


def _is_amount(amount: Any, unit: Unit) -> bool:
    """Whether it can be read in a currency with as many decimals as there are."""
    try:
        _read(amount, "KWD", unit)
    except ValueError:
        return False
    return True


def total_paid(amount: Any, tax: Any, currency: Any, unit: Unit) -> Money | str:
    """`amount`, which includes `tax` (none where it is missing, or cannot be read)."""
    money, part = money_of(amount, currency, unit), money_of(tax or 0, currency, unit)
    if isinstance(money, Money) and isinstance(part, Money):
        return Payment(money.minor, money.currency, part.minor)
    if isinstance(money, Missing):
        money.tax = tax
    return money


def products_in(lines: Any, *, id: str, name: str, quantity: str = "quantity") -> tuple[Product, ...]:
    """The lines of an order; `id`, `name` and `quantity` are keys, with a point before what lies deeper (price.product_id)."""
    bought = []
    for line in map(dict_of, list_of(lines)[:MOST_PRODUCTS]):
        title = text_of(_below(line, name))
        product = Product(
            identifier_of(_below(line, id)), title and title[:LONGEST_TITLE], whole(_below(line, quantity))
        )
        bought.append(product)
    return tuple(bought)


def _below(line: Any, path: str) -> Any:
    for key in path.split("."):
        line = dict_of(line).get(key)
    return line


def whole(value: Any) -> int | None:
    """A whole number, also written as text or as 5.0; None for all else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = text_of(value)
    if text is None or not text.removeprefix("-").isdigit() or not text.isascii() or len(text) > 16:
        return None
    return int(text) if abs(int(text)) <= LARGEST_MINOR else None


def total_of(parts: list[Money | str], currency: Any) -> Money | str:
    """The sum of amounts of one currency; the first thing that is wrong with any of them."""
    wrong = next((part for part in parts if isinstance(part, str)), None)
    code = currency_code(currency)
    if wrong or code is None or not parts:
        return wrong or "it has no amount"
    return Money(sum(abs(part.minor) for part in parts if isinstance(part, Money)), code)


def aliases_of(source: str, *ids: Any, account: str | None = None) -> tuple[str, ...]:
    """Ids by which the provider knows a person, as Who.aliases has them."""
    scope = f"{source}:{account}" if account else source
    known = (identifier_of(identity) for identity in ids)
    return tuple(dict.fromkeys(f"{scope}:{identity}" for identity in known if identity))


def kind_of_id(kind: str, value: Any) -> str | None:
    """An id that is only a number, distinguished from those of other kinds: customer_7."""
    known = identifier_of(value)
    return f"{kind}_{known}" if known else None


def own_id(value: Any, prefix: str) -> str | None:
    """The provider's own id of a customer, where it has the prefix that tells whose it is."""
    known = identifier_of(value)
    return known if known and known.startswith(prefix) else None


def keys_of(*ids: Any) -> Keys:
    """The ids of one payment, the one to send first."""
    return tuple(dict.fromkeys(known for known in map(identifier_of, ids) if known))


def named(pairs: Any, name: str = "name") -> dict[str, Any]:
    """[{name, value}] as an object: note attributes, meta data. The first of each name counts."""
    values: dict[str, Any] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, dict) and (key := text_of(pair.get(name))):
            values.setdefault(key, pair.get("value"))
    return values


def remembered(view: Submission, reason: str, rules: Rules, *, keys: Keys = (), **flags: Any) -> Mapped:
    """Ignored, and what it says of a person is kept for their next payment where it says two things at least."""
    who = who_of(view, rules)
    facts = sum(1 for fact in (who.email, who.customer_id, who.click_id or who.clicks) if fact) + len(who.aliases)
    return ignored(view, reason, rules, keys=keys, carries_identity=facts > 1, **flags)


def is_refused_test(source: str, rules: Rules, *marks: Any) -> bool:
    """Whether one of `marks` says that this is a test, and tests are not to be counted."""
    return any(mark is True or text_of(mark) in ("true", "1") for mark in marks) and not rules.accepts_test_events(
        source
    )


def refuse_test(source: str, title: str, view: Submission, rules: Rules) -> Mapped:
    return ignored(
        view, f"{title} test event. Set {source.upper()}_ALLOW_TEST_EVENTS=1 to accept these.", rules, keys=()
    )
