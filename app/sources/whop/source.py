"""Whop.

Signing: https://docs.whop.com/developer/guides/webhooks (Standard Webhooks; the key is the UTF-8 of the whole secret, ws_…).
Payload: https://docs.whop.com/api-reference/payments/payment-succeeded. Money comes with payment.succeeded, in major units.
"""

from dataclasses import replace
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale
from app.sources.parse import from_iso, from_unix_or_iso, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    keys_of,
    money_of,
    object_in,
    own_id,
    products_in,
    remembered,
    total_paid,
)
from app.sources.set_up import SetUp
from app.sources.signatures import standard_webhooks
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "whop"
CUSTOMER_PREFIX = "user_"
SCHEME = standard_webhooks(key="text")
REFUNDED = ("succeeded", "completed", "refunded", "processed")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event, data = event_name_of(raw.get("type")), dict_of(raw.get("data"))
    user, member = dict_of(data.get("user")), dict_of(data.get("member"))
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(raw.get("id")) or identifier_of(inbound.headers.get("webhook-id")),
        occurred_at=from_unix_or_iso(data.get("paid_at")) or from_iso(raw.get("timestamp")),
        hidden={
            **dict_of(dict_of(data.get("product")).get("metadata")),
            **dict_of(dict_of(data.get("plan")).get("metadata")),
            **dict_of(data.get("metadata")),
        },
        contact=Contact(
            email=user.get("email"),
            name=user.get("name") or dict_of(data.get("billing_address")).get("name"),
            phone=member.get("phone"),
        ),
        aliases=aliases_of(NAME, user.get("id"), dict_of(data.get("membership")).get("id")),
        provider_id=own_id(user.get("id"), CUSTOMER_PREFIX),
    )
    currency = data.get("currency")
    if event == "payment.succeeded":
        return sale(
            NAME,
            view,
            rules,
            _total(data),
            keys=keys_of(data.get("id")),
            reason="a succeeded payment",
            products=products_in([data.get("product")], id="id", name="title"),
            promotion_codes=(dict_of(data.get("promo_code")).get("code"),),
            event_name="subscription_renewed" if data.get("billing_reason") == "subscription_cycle" else "order_paid",
        )
    dated_view = replace(view, occurred_at=from_iso(raw.get("timestamp")))
    keys, status = keys_of(dict_of(data.get("payment")).get("id")), text_of(data.get("status")) or ""
    amount, reference = money_of(data.get("amount"), currency, "major"), identifier_of(data.get("id"))
    if event in ("refund.created", "refund.updated") and status in REFUNDED:
        return refunded(dated_view, amount, reference=reference, keys=keys, status=status)
    if event == "payment.auto_refunded":
        own = keys_of(data.get("id"))
        refund = f"{own[0]}:refunded" if own else None
        return refunded(dated_view, _total(data), reference=refund, keys=own, status="refunded")
    if event in ("dispute.created", "dispute.updated"):
        return refunded(dated_view, amount, reference=reference, keys=keys, status=status or "created", kind="dispute")
    return remembered(view, f"{event or 'an event without a type'} is not a collected payment", rules)


def _total(data: dict[str, Any]) -> Money | str:
    """settlement_amount is what the buyer paid; total leaves the buyer's fees out."""
    paid = data.get("settlement_amount") if data.get("settlement_amount") is not None else data.get("total")
    return total_paid(paid, data.get("tax_amount"), data.get("currency"), "major")


VECTORS = (
    Vector(
        body=b'{"type":"payment.succeeded"}',
        headers={
            "webhook-id": "msg_1",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1,F+aF7mumFuQyVKhhGB5ohtjqdKco3tTAqsyE1giZYDQ=",
        },
        secret="ws_vector_secret_of_whop",  # noqa: S106 (of the vector)
        origin="library: PyPI standardwebhooks 1.1.0, as whop-sdk 2.6.0 calls it",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Whop",
    SCHEME,
    read,
    customer_prefix=CUSTOMER_PREFIX,
    vectors=VECTORS,
    set_up=SetUp(usual_prefixes=("ws_",), wrong_prefixes={"apik_": "an API key (apik_…)"}),
)
