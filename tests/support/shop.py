"""A shop as a source of bridge.toml, and its signed orders, for tests of events that lack something."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

SECRET = "secret of the shop"
SHOP = """
[sources.shop]
kind = "sale"
signature = { header = "X-Shop-Signature" }
events = { path = "type", allow = ["order.paid"] }
[sources.shop.fields]
order_id = "order.number"
amount = "order.total"
currency = "order.currency"
email = "order.customer.email"
name = "order.customer.name"
"""


def configured(folder: Path, toml: str = SHOP) -> dict[str, str]:
    """The variables under which the shop is a source."""
    path = folder / "bridge.toml"
    path.write_text(toml, encoding="utf-8")
    return {"BRIDGE_CONFIG": str(path), "SHOP_WEBHOOK_SECRET": SECRET}


def order(number: str = "A-1", **fields: Any) -> dict[str, Any]:
    """An order without the field that the mapping looks for its currency in."""
    customer = {"email": f"{number.lower()}@example.com", "name": "Ida Löfgren"}
    return {
        "type": "order.paid",
        "order": {"number": number, "total": "149.50", "currency_code": "EUR", "customer": customer, **fields},
    }


def headers_of(body: bytes) -> dict[str, str]:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Shop-Signature": signature, "Content-Type": "application/json"}


def post_order(client: FlaskClient, content: dict[str, Any]) -> Any:
    body = json.dumps(content).encode()
    return client.post("/webhooks/shop", data=body, headers=headers_of(body)).get_json()
