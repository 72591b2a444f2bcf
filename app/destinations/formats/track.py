"""Dialect `track`: the API reference and SDKs of the destination.

Its pages disagree about the unit of `amount` (the API page's example is 99.99, one SDK says "in cents", another takes whole
numbers), so the unit is DESTINATION_AMOUNT_UNIT.
"""

from dataclasses import dataclass
from typing import Any, Literal

from app.destinations.formats.base import without_blanks
from app.model import Facts
from app.money import json_number
from app.times import iso_milliseconds


@dataclass(frozen=True, slots=True)
class Track:
    amount_unit: Literal["major", "minor"] = "major"
    name: str = "track"

    def render(self, facts: Facts) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "clickId": facts.click_id,
            "customerExternalId": facts.customer_id,
            "timestamp": iso_milliseconds(facts.occurred_at),
            "customerName": facts.name,
            "customerEmail": facts.email,
        }
        if facts.sale:
            money = facts.sale.money
            fields |= {
                "eventName": facts.sale.event_name,
                "invoiceId": facts.sale.invoice_id,
                "amount": json_number(money.major) if self.amount_unit == "major" else money.minor,
                "currency": money.currency,
            }
        elif facts.lead:
            fields |= {"eventName": facts.lead.event_name, "mode": facts.lead.mode}
        return without_blanks(fields)

    def refusal(self, answer: bytes) -> str | None:
        return None
