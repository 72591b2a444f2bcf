"""Dialect `dub`: https://dub.co/docs/api-reference/endpoint/track-lead and .../track-sale.

Amounts are Dub's own units: whole ones for the currencies of `WHOLE`, hundredths for every other, those with three decimals too
(https://github.com/dubinc/dub, packages/utils/src/functions/currency-zero-decimal.ts).
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from app.destinations.formats.base import Body, Draft, Refusal, json_object, said_no
from app.destinations.formats.checks import (
    LONGEST_METADATA,
    Fields,
    Id,
    Metadata,
    Short,
    Text,
    Whole,
    accepted,
    address,
    at_most,
    problem_of,
)
from app.model import Facts, Kind
from app.money import Money, currency_code

LONGEST = 100
"""Of a name or an e-mail address."""
LONGEST_EVENT = 255
WHOLE = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
)
PROCESSORS = ("stripe", "shopify", "polar", "paddle", "apple", "revenuecat", "dub", "custom")
NOT_READABLE_YET = "lead event not found"
is_accepted = address(local=r"A-Za-z0-9_'+\-.", last=r"A-Za-z0-9_+\-")


def _is_currency(value: str) -> str:
    if currency_code(value) is None:
        raise ValueError("must be a currency code of three letters, such as usd")
    return value


class _Conversion(Fields):
    """What Lead and Sale share."""

    customerExternalId: Id  # noqa: N815 - the wire's names
    clickId: StrictStr = ""  # noqa: N815
    customerName: Annotated[Text, at_most(LONGEST)] = "-"  # noqa: N815
    customerEmail: Annotated[Text, at_most(LONGEST), accepted(is_accepted)] = "-"  # noqa: N815
    customerAvatar: Text = "-"  # noqa: N815
    metadata: Metadata = Field(default_factory=dict)


class _Lead(_Conversion):
    eventName: Short  # noqa: N815
    mode: Literal["async", "wait", "deferred"] = "async"
    eventQuantity: Annotated[StrictInt, Field(ge=1, le=100)] = 1  # noqa: N815


class _Sale(_Conversion):
    amount: Whole
    currency: Annotated[StrictStr, AfterValidator(_is_currency)]
    invoiceId: Text  # noqa: N815
    eventName: Short = "-"  # noqa: N815
    leadEventName: Text = "-"  # noqa: N815
    paymentProcessor: Literal[PROCESSORS] = "custom"  # type: ignore[valid-type] # noqa: N815


class Dub:
    name = "dub"

    def body(self, facts: Facts) -> Body:
        draft = Draft()
        draft.put("clickId", facts.click_id)
        draft.put("customerExternalId", facts.customer_id.strip())
        draft.cut("customerName", facts.name, LONGEST)
        draft.address("customerEmail", facts.email, LONGEST, is_accepted)
        if facts.sale:
            draft.cut("eventName", facts.sale.event_name, LONGEST_EVENT)
            draft.put("invoiceId", facts.sale.invoice_id)
            draft.put("amount", units_of(facts.sale.money))
            draft.put("currency", facts.sale.money.currency.lower())
            draft.put("paymentProcessor", facts.source if facts.source in PROCESSORS else "custom")
            draft.metadata(facts.sale.metadata, LONGEST_METADATA)
        elif facts.lead:
            draft.cut("eventName", facts.lead.event_name, LONGEST_EVENT)
            # Only `wait` makes the Lead readable for a Sale that follows at once: others are ingested seconds later.
            draft.put("mode", facts.lead.mode or "wait")
            draft.metadata(facts.lead.metadata, LONGEST_METADATA)
            draft.fields.setdefault("clickId", "")  # required of a lead, and "" says that there is none
        return draft.done()

    def problem(self, kind: Kind, fields: Mapping[str, Any]) -> str | None:
        return problem_of(_Lead if kind == "lead" else _Sale, fields)

    def refusal(self, status: int, answer: bytes) -> Refusal | None:
        """An unknown customer without click id is answered 200 with customer null: nothing was recorded. A Sale is answered
        404 while the customer's lead event cannot be read yet, which passes."""
        if 200 <= status <= 299:
            fields = json_object(answer)
            if "customer" in fields and fields["customer"] is None:
                return Refusal(
                    "the destination knows no such customer and recorded nothing (customer is null in its answer)"
                )
            return said_no(answer)
        if status == 404 and NOT_READABLE_YET in _message(answer).lower():
            return Refusal("answered 404: the person's lead event cannot be read yet", is_transient=True)
        return None


def units_of(money: Money) -> int:
    """`money` as Dub counts it; what lies between two units goes to the nearest, and a half to the even one."""
    major = money.major if money.currency in WHOLE else money.major.scaleb(2)
    return int(major.to_integral_value(ROUND_HALF_EVEN))


def _message(answer: bytes) -> str:
    error = json_object(answer).get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
