"""The short example of a source of your own in docs/sources.md, copied as it stands, takes an order."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path

from app.config.settings import Settings
from app.ledger.reading.deliveries import deliveries
from app.ledger.schema import upgrade
from app.web.factory import create_app

ORDER = {
    "type": "order.paid",
    "order": {"number": "2026-17", "total": "149.50", "currency": "EUR", "customer": {"email": "ida@example.com"}},
    "clickId": "clk_9",
}


def test_the_documented_source_of_your_own_works(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(\[sources\.shop\].*?)```", page, re.DOTALL)
    assert example
    config = tmp_path / "bridge.toml"
    config.write_text(example.group(1), encoding="utf-8")
    settings = make_settings(BRIDGE_CONFIG=str(config), SHOP_WEBHOOK_SECRET="secret of the shop")
    from app.bootstrap import make_ledger

    ledger = make_ledger(settings)
    upgrade(ledger)
    client = create_app(settings, ledger).test_client()
    body = json.dumps(ORDER).encode()
    signature = hmac.new(b"secret of the shop", body, hashlib.sha256).hexdigest()
    refused = client.post("/webhooks/shop", data=body, headers={"X-Shop-Signature": "0" * 64})
    assert refused.status_code == 401
    taken = client.post("/webhooks/shop", data=body, headers={"X-Shop-Signature": signature})
    assert (taken.status_code, taken.get_json()["outcome"]) == (200, "sale")
    with ledger.read() as tx:
        (delivery,) = deliveries(tx)
    payload = delivery["payload"]
    assert (payload["amount"], payload["currency"], payload["clickId"]) == (149.5, "EUR", "clk_9")
    assert payload["customerExternalId"] == "ida@example.com"
    assert delivery["dedupe_key"] == "sale:shop:2026-17"
    ledger.close()
