"""Format `events`: the destination's event guide. Amounts are JSON numbers in major units."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictStr

from app.destinations.formats.base import CUTMESHORT, DUB, Body, Format, Options, is_host_of
from app.destinations.formats.checks import (
    LONGEST_METADATA,
    Currency,
    Fields,
    Id,
    Metadata,
    Number,
    Short,
    Text,
    Timestamp,
    major_problem,
    problem_of,
)
from app.destinations.formats.draft import Draft
from app.model import DeliveryKind, Facts
from app.times import iso_milliseconds

LONGEST = 255
"""Of an optional text. The guide names no limit; this is that of the same service's SDKs."""


class _Conversion(Fields):
    """What Lead and Sale share."""

    timestamp: Timestamp
    customerExternalId: Id  # noqa: N815 - the wire's names
    clickId: Short = "-"  # noqa: N815
    email: Annotated[StrictStr, Field(pattern="^[^@ ]+@[^@ ]+$")] = "-@-"
    name: Short = "-"
    phone: Short = "-"
    metadata: Annotated[Metadata, Field(min_length=1)] = Field(default_factory=dict)


class _Lead(_Conversion):
    event: Literal["lead"]
    mode: Literal["deferred"] = "deferred"


class _Sale(_Conversion):
    event: Literal["sale"]
    currency: Currency
    amount: Number
    invoiceId: Text  # noqa: N815
    orderId: Short = "-"  # noqa: N815


class Events(Format):
    name = "events"

    def body(self, facts: Facts) -> Body:
        draft = Draft()
        fields = draft.fields
        fields["event"] = facts.kind
        fields["timestamp"] = iso_milliseconds(facts.occurred_at)
        draft.within("clickId", facts.click_id, LONGEST)
        draft.put("customerExternalId", facts.customer_id.strip())
        draft.within("email", facts.email, LONGEST)
        draft.cut("name", facts.name, LONGEST)
        draft.within("phone", facts.phone, LONGEST)
        if facts.sale:
            fields["currency"] = facts.sale.money.currency
            fields["amount"] = facts.sale.money.number
            draft.put("invoiceId", facts.sale.invoice_id)
            draft.within("orderId", facts.sale.order_id, LONGEST)
            draft.metadata(facts.sale.metadata, LONGEST_METADATA)
        elif facts.lead:
            draft.put("mode", facts.lead.mode)
            draft.metadata(facts.lead.metadata, LONGEST_METADATA)
        return draft.done()

    def advice(
        self, host: str, *, rate: float | None, sources: Collection[str], net_of_tax: bool | None = None
    ) -> Iterator[str]:
        if is_host_of(host, *CUTMESHORT):
            yield "CutMeShort's API reference and SDKs use the format track: set format = track (DESTINATION_FORMAT)"
        if is_host_of(host, *DUB):
            yield "Dub's API needs the format dub: set format = dub (DESTINATION_FORMAT)"

    def problem(self, kind: DeliveryKind, fields: Mapping[str, Any]) -> str | None:
        if kind == "lead":
            return problem_of(_Lead, fields)
        return problem_of(_Sale, fields) or major_problem(fields)


def make(_options: Options) -> Format:
    return Events()
