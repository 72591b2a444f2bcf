"""Gumroad. It signs nothing, so the URL carries a token.

Payload: https://gumroad.com/ping (form-encoded). price is in US cents whatever the product's currency; the click id of the
product's URL comes with the first sale alone.
"""

from dataclasses import replace
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of, read_body
from app.sources.outcomes import refunded, sale
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    is_refused_test,
    keys_of,
    money_of,
    products_in,
    refuse_test,
    remembered,
)
from app.sources.set_up import SetUp
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "gumroad"


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = read_body(inbound)
    event = event_name_of(raw.get("resource_name")) or "sale"
    is_gift = _is(raw, "is_gift_receiver_purchase")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        occurred_at=from_iso(raw.get("sale_timestamp")),
        hidden={**dict_of(raw.get("custom_fields")), **dict_of(raw.get("url_params"))},
        contact=Contact(
            email=raw.get("gifter_email") if is_gift else raw.get("email"),
            name=None if is_gift else raw.get("full_name"),
        ),
        aliases=aliases_of(NAME, raw.get("purchaser_id"), raw.get("subscription_id")),
    )
    keys = keys_of(raw.get("sale_id"))
    flags = "".join(name for name in ("refunded", "disputed", "dispute_won") if _is(raw, name))
    view = replace(view, event_id=f"{event}:{keys[0]}:{flags}" if keys else None)
    if is_refused_test(NAME, rules, raw.get("test")):
        return refuse_test(NAME, "Gumroad", view, rules)
    money = money_of(raw.get("gift_price") if is_gift else raw.get("price"), "USD", "cents")
    reference = keys[0] if keys else None
    if _is(raw, "disputed") or _is(raw, "dispute_won"):
        status = "won" if _is(raw, "dispute_won") else "disputed"
        disputed = f"{reference}:disputed" if reference else None
        return refunded(view, money, reference=disputed, keys=keys, status=status, kind="dispute")
    if _is(raw, "refunded"):
        return refunded(
            view, money, reference=f"{reference}:refunded" if reference else None, keys=keys, status="refunded"
        )
    if event != "sale":
        return remembered(view, f"{event} is not a collected payment", rules)
    if _is(raw, "is_preorder_authorization"):
        return remembered(view, "a pre-order: no money was collected yet", rules)
    return sale(
        NAME,
        view,
        rules,
        money,
        keys=keys,
        order_id=identifier_of(raw.get("order_number")),
        reason="a sale",
        products=products_in([raw], id="product_id", name="product_name"),
        promotion_codes=(raw.get("offer_code"),),
        event_name="subscription_renewed" if _is(raw, "is_recurring_charge") else "order_paid",
    )


def _is(raw: dict[str, Any], name: str) -> bool:
    return (text_of(raw.get(name)) or "") == "true" or raw.get(name) is True


SOURCE = Webhook(
    NAME,
    "Gumroad",
    None,
    read,
    set_up=SetUp(marks_tests=True),
)
