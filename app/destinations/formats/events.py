"""Dialect `events`: the destination's event guide. Amounts are JSON numbers in major units."""

from typing import Any

from app.destinations.formats.base import without_blanks
from app.model import Facts
from app.money import json_number
from app.times import iso_milliseconds


class Events:
    name = "events"

    def render(self, facts: Facts) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "event": facts.kind,
            "timestamp": iso_milliseconds(facts.occurred_at),
            "clickId": facts.click_id,
            "customerExternalId": facts.customer_id,
            "email": facts.email,
            "name": facts.name,
            "phone": facts.phone,
        }
        if facts.sale:
            fields |= {
                "currency": facts.sale.money.currency,
                "amount": json_number(facts.sale.money.major),
                "invoiceId": facts.sale.invoice_id,
                "orderId": facts.sale.order_id,
                "metadata": dict(facts.sale.metadata),
            }
        elif facts.lead:
            fields |= {"mode": facts.lead.mode, "metadata": dict(facts.lead.metadata)}
        return without_blanks(fields)

    def refusal(self, answer: bytes) -> str | None:
        return None
