"""Dialect `dub`: https://dub.co/docs/api-reference/endpoint/track-lead and .../track-sale. Amounts are whole minor units."""

from typing import Any

from pydantic_core import from_json

from app.destinations.formats.base import without_blanks
from app.model import Facts


class Dub:
    name = "dub"

    def render(self, facts: Facts) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "clickId": facts.click_id,
            "customerExternalId": facts.customer_id[:100],
            "customerName": facts.name,
            "customerEmail": facts.email,
        }
        if facts.sale:
            fields |= {
                "eventName": facts.sale.event_name[:255],
                "invoiceId": facts.sale.invoice_id,
                "amount": facts.sale.money.minor,
                "currency": facts.sale.money.currency.lower(),
                "paymentProcessor": "stripe" if facts.sale.invoice_id[:3] in ("in_", "pi_", "cs_", "ch_") else "custom",
                "metadata": dict(facts.sale.metadata),
            }
            return without_blanks(fields)
        assert facts.lead is not None
        fields |= {
            "eventName": facts.lead.event_name[:255],
            "mode": facts.lead.mode,
            "metadata": dict(facts.lead.metadata),
        }
        # clickId is required of a lead, and "" says that there is none.
        return without_blanks(fields) | {"clickId": facts.click_id or ""}

    def refusal(self, answer: bytes) -> str | None:
        """An unknown customer without click id is answered 200 with customer null: nothing was recorded."""
        try:
            body = from_json(answer)
        except ValueError:
            return None
        if isinstance(body, dict) and "customer" in body and body["customer"] is None:
            return "the destination knows no such customer and recorded nothing (customer is null in its answer)"
        return None
