"""Format `dub`: https://dub.co/docs/api-reference/endpoint/track-lead and .../track-sale.

Amounts are Dub's own units: whole ones for the currencies of `WHOLE`, hundredths for every other, those with three decimals too
(https://github.com/dubinc/dub, packages/utils/src/functions/currency-zero-decimal.ts).
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr
from pydantic_core import to_json

from app.destinations.formats import dub_refund
from app.destinations.formats.base import (
    CUTMESHORT,
    DUB,
    Answered,
    Body,
    Books,
    Format,
    HttpRequest,
    Options,
    Sent,
    Verdict,
    by_status,
    is_host_of,
    json_headers,
    json_object,
)
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
from app.destinations.formats.draft import Draft, event_name
from app.destinations.formats.dub_books import DubBooks
from app.destinations.formats.dub_refund import message_of
from app.model import DeliveryKind, Facts
from app.money import Money, currency_code

LONGEST = 100
"""Of a name or an e-mail address."""
LONGEST_EVENT = 255
WHOLE = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
)
PROCESSORS = ("stripe", "shopify", "polar", "paddle", "apple", "revenuecat", "dub", "custom")
NOT_READABLE_YET = "lead event not found"
CLICK_NOT_FOUND = "click event not found"
CLICK_MISSING = "the clickid property was not provided"
NO_CLICK = (
    "The `clickId` property was not provided and no existing customer with the provided `customerExternalId` was found."
)
CLICK_TRIES = 3
"""Attempts at a Sale whose click is not found before that is taken for the truth."""
ALREADY_HAD = "already had this Lead"
PERHAPS_LOST = "perhaps lost"
UNKNOWN_CLICK = "unknown click"
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


@dataclass(frozen=True, slots=True)
class Dub(Format):
    event_names: Mapping[str, str] = field(default_factory=dict)
    name: str = "dub"
    is_public_api: bool = True
    takes_refunds: bool = True
    takes_restores: bool = True
    books: Books | None = field(default_factory=DubBooks)

    def body(self, facts: Facts) -> Body:
        draft = Draft()
        if facts.refund and facts.sale:
            draft.put("invoiceId", facts.sale.invoice_id)
            draft.put("refundId", facts.refund.refund_id)
            draft.put("saleAmount", units_of(facts.refund.sale_amount))
            draft.put("amountLeft", units_of(facts.refund.left))
            draft.put("isRestored", facts.refund.is_restored or None)
            return draft.done()
        draft.put("clickId", facts.click_id)
        draft.put("customerExternalId", facts.customer_id.strip())
        draft.cut("customerName", facts.name, LONGEST)
        draft.address("customerEmail", facts.email, LONGEST, is_accepted)
        if facts.sale:
            draft.cut("eventName", event_name(facts, self.event_names), LONGEST_EVENT)
            draft.put("invoiceId", facts.sale.invoice_id)
            draft.put("amount", units_of(facts.sale.money))
            draft.put("currency", facts.sale.money.currency.lower())
            draft.put("paymentProcessor", facts.source if facts.source in PROCESSORS else "custom")
            # Rewards for a product match productId; their conditions may match any other name.
            named = {"productId": facts.sale.product_ids[:1], "promotionCode": facts.sale.promotion_codes[:1]}
            first = {name: values[0] for name, values in named.items() if values}
            draft.metadata({**facts.sale.metadata, **first}, LONGEST_METADATA)
        elif facts.lead:
            draft.cut("eventName", event_name(facts, self.event_names), LONGEST_EVENT)
            # Only `wait` makes the Lead readable for a Sale that follows at once: others are ingested seconds later.
            draft.put("mode", facts.lead.mode or "wait")
            draft.metadata(facts.lead.metadata, LONGEST_METADATA)
            draft.fields.setdefault("clickId", "")  # required of a lead, and "" says that there is none
        return draft.done()

    def advice(
        self, host: str, *, rate: float | None, sources: Collection[str], net_of_tax: bool | None = None
    ) -> Iterator[str]:
        if is_host_of(host, *CUTMESHORT):
            yield "CutMeShort's API needs the format track: set format = track (DESTINATION_FORMAT)"
        if rate is None and is_host_of(host, *DUB):
            yield "Dub's Business plan takes 1,200 requests a minute: set rate = 18 (DESTINATION_RATE)"
        if is_host_of(host, *DUB) and net_of_tax is False:
            yield "Dub's own apps report amounts without tax: set net_of_tax = true, unless yours are to include it"
        if "stripe" in sources:
            yield "if Dub's Stripe app is installed, uninstall it: every sale of Stripe would count twice"

    def problem(self, kind: DeliveryKind, fields: Mapping[str, Any]) -> str | None:
        models: dict[DeliveryKind, type[Fields]] = {"lead": _Lead, "sale": _Sale, "refund": dub_refund.RefundFields}
        return problem_of(models[kind], fields)

    def request(self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime) -> HttpRequest:
        return self.next_request(kind, body, key, token, now, None)

    def next_request(
        self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime, remembered: str | None
    ) -> HttpRequest:
        if kind == "refund":
            return dub_refund.request(body, key, token, remembered)
        return HttpRequest("POST", f"/track/{kind}", json_headers(token, key), body.encode())

    def sandbox_answer(
        self, kind: DeliveryKind, fields: Mapping[str, Any], is_known: Callable[[str], bool] = lambda _: True
    ) -> tuple[int, str]:
        """Every click is known, and every customer of an earlier conversion."""
        customer = {"externalId": fields["customerExternalId"]}
        if not fields.get("clickId") and not is_known(fields["customerExternalId"]):
            if kind == "sale":
                return 200, to_json({"eventName": fields.get("eventName"), "customer": None, "sale": None}).decode()
            return 400, to_json({"error": {"code": "bad_request", "message": NO_CLICK}}).decode()
        content = {"sale": {"amount": fields["amount"]}} if kind == "sale" else {"link": {"id": "link_sandbox"}}
        return 200, to_json({"customer": customer, **content}).decode()

    def verdict(self, answer: Answered, sent: Sent) -> Verdict:
        """https://dub.co/docs/api-reference documents the codes; the meanings are those of its routes
        apps/web/app/(ee)/api/track/{lead,sale}/route.ts."""
        if sent.kind == "refund":
            return dub_refund.verdict(answer, sent)
        if 200 <= answer.status <= 299:
            if sent.kind == "lead":
                return _lead_taken(answer, sent)
            return _sale_taken(answer, sent)
        message = message_of(answer.body).lower()
        if answer.status == 404 and message.startswith(NOT_READABLE_YET):
            return Verdict("transient", "answered 404: the person's lead event cannot be read yet")
        if answer.status == 404 and message.startswith(CLICK_NOT_FOUND):
            return _click_not_found(sent)
        if answer.status == 400 and message.replace("`", "").startswith(CLICK_MISSING):
            return Verdict("unattributed", "answered 400: Dub does not know this customer, and there is no click id")
        return by_status(answer, sent)


def _lead_taken(answer: Answered, sent: Sent) -> Verdict:
    """`link: null` says that Dub recorded nothing now: it had this customer and event name within the last 7 days. That key is
    claimed before the click is looked up, so after "Click event not found" it says nothing about an earlier success."""
    fields = json_object(answer.body)
    if "link" in fields and fields["link"] is None and by_status(answer, sent).result == "delivered":
        if sent.note == UNKNOWN_CLICK:
            return Verdict(
                "unattributed", "Dub refused this Lead's click before, and ignores it for 7 days", UNKNOWN_CLICK
            )
        was_taken = not sent.attempts or 200 <= (sent.last_status or 0) <= 299
        return Verdict("delivered", note=ALREADY_HAD if was_taken else PERHAPS_LOST)
    return by_status(answer, sent)


def _sale_taken(answer: Answered, sent: Sent) -> Verdict:
    """`customer: null` says that Dub recorded nothing: it does not know this customer, and the Sale has no click id."""
    fields = json_object(answer.body)
    if "customer" in fields and fields["customer"] is None:
        return Verdict(
            "unattributed", "Dub does not know this customer, and there is no click id: nothing was recorded"
        )
    return by_status(answer, sent)


def _click_not_found(sent: Sent) -> Verdict:
    """For good for a Lead, whose key is claimed now. A Sale is tried again a few times: Dub answers like this too where its
    store of clicks fails."""
    if sent.kind == "sale" and sent.tries < CLICK_TRIES:
        return Verdict("transient", "answered 404: Dub does not find the click")
    return Verdict("unattributed", "answered 404: Dub does not know the click", UNKNOWN_CLICK)


def units_of(money: Money) -> int:
    """`money` as Dub counts it; what lies between two units goes to the nearest, and a half to the even one."""
    major = money.major if money.currency in WHOLE else money.major.scaleb(2)
    return int(major.to_integral_value(ROUND_HALF_EVEN))


def make(options: Options) -> Format:
    return Dub(options.event_names)
