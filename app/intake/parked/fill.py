"""Values that an operator fills in by hand, applied to what a parked event says. Pure.

A value that was filled in counts instead of what the body says. The body stays as received.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.ledger.recording.arrival import Policy
from app.model import Draft, Lead, Mapped
from app.money import Money, Payment, currency_code, from_major, plausible_tax
from app.persons import customer_id_of, normal_phone
from app.sources.forms.person_fields import name_of
from app.sources.outcomes import NOT_COLLECTED, Missing
from app.sources.parse import email_of, identifier_of
from app.sources.payment import money_of, total_paid

LABELS = {
    "amount": "amount",
    "currency": "currency",
    "id": "ID of the purchase or submission",
    "email": "email address",
    "customer_id": "customer ID",
    "phone": "phone number",
    "name": "name",
    "click_id": "click ID",
}
"""What may be filled in, with its name for people."""
FILLABLE = tuple(LABELS)
OF_PERSON = ("email", "customer_id", "phone", "name", "click_id")
LONGEST_NAME = 200


def read_value(field: str, text: str, *, currency: str | None, phone_region: str | None) -> str:
    """A value as it is stored. Raises ValueError that says what is wrong. currency: that of an amount, if known."""
    text = text.strip()
    if field == "amount":
        if from_major(text, currency or "KWD").minor <= 0:  # KWD has the most decimals
            raise ValueError("must be more than 0")
        return text
    if field == "currency":
        code = currency_code(text)
        if code is None:
            raise ValueError("must be a currency code of three letters, such as EUR")
        return code
    if field == "email":
        email = email_of(text)
        if email is None:
            raise ValueError("is not an email address")
        return email
    if field == "phone":
        if normal_phone(text, phone_region) is None:
            raise ValueError("must be a phone number with its country code, such as +49 151 12345678")
        return text
    if field == "name":
        named = name_of(text)
        if named is None or len(named) > LONGEST_NAME:
            raise ValueError(f"must be a name of at most {LONGEST_NAME} characters")
        return named
    known = identifier_of(text)
    if known is None:
        raise ValueError("must be an ID of at most 255 characters, without spaces")
    return known


def filled(mapped: Mapped, values: Mapping[str, str], phone_region: str | None = None) -> Mapped:
    """What an event means together with what was filled in for it."""
    if not values:
        return mapped
    known_by_hand: dict[str, Any] = {name: values[name] for name in OF_PERSON if name in values}
    if "customer_id" in values:
        known_by_hand["is_reference"] = False
    who = replace(mapped.who, **known_by_hand)
    keys = mapped.keys or ((values["id"],) if "id" in values else ())
    known = replace(mapped, who=who, keys=keys)
    by_hand = "filled in by hand: " + ", ".join(LABELS[name] for name in FILLABLE if name in values)
    if mapped.outcome in ("sale", "lead"):
        return replace(known, reason=f"{mapped.reason}; {by_hand}")
    draft = mapped.draft
    if mapped.outcome != "parked" or draft is None:
        return known
    if draft.sale is None and (not keys or ("person" in draft.lacks and customer_id_of(who, phone_region) is None)):
        return known
    reason = f"{draft.reason}; {by_hand}"
    if draft.sale is None:
        lead = replace(mapped.lead or Lead(""), lead_id=keys[0])
        return replace(known, outcome="lead", lead=lead, draft=None, reason=reason)
    money = _money(draft, values)
    if isinstance(money, str):
        return replace(known, reason=money, draft=_completed(draft, values, money))
    if not keys:
        lacks_id = replace(draft, lacks=("id",), amount=money.minor, unit="stripe", currency=money.currency)
        return replace(known, draft=lacks_id)
    if money.minor <= 0:
        return replace(known, outcome="ignored", draft=None, reason=NOT_COLLECTED)
    tax = plausible_tax(money.tax, money.minor) if isinstance(money, Payment) else 0
    own = Money(money.minor, money.currency)
    sale = replace(draft.sale, invoice_id=draft.sale.invoice_id or keys[0], money=own, tax=tax)
    return replace(known, outcome="sale", sale=sale, draft=None, reason=reason)


def lacks_of(mapped: Mapped, policy: Policy) -> tuple[str, ...]:
    """The fields to fill in before an event counts: fields of LABELS, and "person" for one of email, customer_id and phone."""
    lacks: list[str] = []
    if mapped.outcome == "parked":
        if mapped.draft is None:
            return ()
        lacks += [field for field in mapped.draft.lacks if field != "person" and not (field == "id" and mapped.keys)]
    elif mapped.outcome not in ("sale", "lead"):
        return ()
    if not mapped.keys and "id" not in lacks:
        lacks.append("id")
    if customer_id_of(mapped.who, policy.rules.phone_region) is None:
        lacks.append("person")
    if policy.require_click_id and mapped.kind == "lead" and not mapped.who.click_id:
        lacks.append("click_id")
    return tuple(lacks)


def _completed(draft: Draft, values: Mapping[str, str], missing: str) -> Draft:
    """The draft with the known part of its money, which is still incomplete."""
    lacks = missing.lacks if isinstance(missing, Missing) else ("amount",)
    completed = replace(draft, lacks=lacks, currency=values.get("currency") or draft.currency)
    return replace(completed, amount=values["amount"], unit="major") if "amount" in values else completed


def _money(draft: Draft, values: Mapping[str, str]) -> Money | str:
    currency = values.get("currency") or draft.currency
    unit = draft.unit
    if "amount" not in values:
        return total_paid(draft.amount, draft.tax, currency, unit)  # type: ignore[arg-type]
    money = money_of(values["amount"], currency, "major")
    tax = money_of(draft.tax or 0, currency, unit)  # type: ignore[arg-type]
    if isinstance(money, Money) and isinstance(tax, Money):
        return Payment(money.minor, money.currency, tax.minor)
    return money
