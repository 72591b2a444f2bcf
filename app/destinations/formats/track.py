"""Format `track`: the API reference and SDKs of the destination.

Its pages disagree about the unit of `amount` (the API page's example is 99.99, one SDK says "in cents", another takes whole
numbers), so the unit is DESTINATION_AMOUNT_UNIT. The limits of fields are those of its TypeScript SDK, cms-ts 1.0.5; what the
server itself checks is not documented.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from app.destinations.formats.base import CUTMESHORT, DUB, Body, Format, Options, is_host_of
from app.destinations.formats.checks import (
    Currency,
    Fields,
    Id,
    Number,
    Short,
    Timestamp,
    Whole,
    accepted,
    address,
    at_most,
    major_problem,
    problem_of,
)
from app.destinations.formats.draft import Draft, event_name
from app.model import DeliveryKind, Facts
from app.money import json_number
from app.times import iso_milliseconds

CUTMESHORT_API = "api.cme.sh"
"""Of the five hosts that CutMeShort's pages and SDKs name, the one of its API reference."""
LONGEST = 255
is_accepted = address(local=r"A-Za-z0-9_+\-.,", last=r"A-Za-z0-9_+\-")


class _Conversion(Fields):
    """What Lead and Sale share."""

    eventName: Short  # noqa: N815 - the wire's names
    customerExternalId: Annotated[Id, at_most(LONGEST)]  # noqa: N815
    timestamp: Timestamp = "-"
    clickId: Short = "-"  # noqa: N815
    customerName: Short = "-"  # noqa: N815
    customerEmail: Annotated[Short, accepted(is_accepted)] = "-"  # noqa: N815
    customerAvatar: Short = "-"  # noqa: N815


class _Lead(_Conversion):
    mode: Literal["deferred"] = "deferred"


class _Sale(_Conversion):
    invoiceId: Short  # noqa: N815
    amount: Number
    currency: Currency


class _MinorSale(_Sale):
    amount: Whole


@dataclass(frozen=True, slots=True)
class Track(Format):
    amount_unit: Literal["major", "minor"] = "major"
    event_names: Mapping[str, str] = field(default_factory=dict)
    name: str = "track"
    is_public_api: bool = True

    @property
    def touch(self) -> Literal["first", "last"]:
        """CutMeShort credits the last click: https://docs.cutmeshort.com/features/LeadSaleTrackAttribution"""
        return "last"

    def body(self, facts: Facts) -> Body:
        draft = Draft()
        draft.within("clickId", facts.click_id, LONGEST)
        draft.put("customerExternalId", facts.customer_id.strip())
        draft.put("timestamp", iso_milliseconds(facts.occurred_at))
        draft.cut("customerName", facts.name, LONGEST)
        draft.address("customerEmail", facts.email, LONGEST, is_accepted)
        if facts.sale:
            money = facts.sale.money
            draft.cut("eventName", event_name(facts, self.event_names), LONGEST)
            draft.put("invoiceId", facts.sale.invoice_id)
            draft.put("amount", json_number(money.major) if self.amount_unit == "major" else money.minor)
            draft.put("currency", money.currency)
        elif facts.lead:
            draft.cut("eventName", event_name(facts, self.event_names), LONGEST)
            draft.put("mode", facts.lead.mode)
        return draft.done()

    def advice(
        self, host: str, *, rate: float | None, sources: Collection[str], net_of_tax: bool | None = None
    ) -> Iterator[str]:
        if is_host_of(host, *CUTMESHORT) and host != CUTMESHORT_API:
            yield f"CutMeShort's API reference names https://{CUTMESHORT_API} alone: set that URL, unless yours answers"
        if is_host_of(host, *DUB):
            yield "Dub's API needs the format dub: set format = dub (DESTINATION_FORMAT)"

    def problem(self, kind: DeliveryKind, fields: Mapping[str, Any]) -> str | None:
        if kind == "lead":
            return problem_of(_Lead, fields)
        if self.amount_unit == "minor":
            return problem_of(_MinorSale, fields)
        return problem_of(_Sale, fields) or major_problem(fields)


def make(options: Options) -> Format:
    return Track(options.amount_unit, options.event_names)
