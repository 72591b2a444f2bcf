"""Dodo Payments.

Signing: https://docs.dodopayments.com/developer-resources/webhooks (Standard Webhooks).
Payload: the same page. Money comes with payment.succeeded, in the currency's smallest unit by ISO 4217.
"""

from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale
from app.sources.parse import from_iso, identifier_of
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

NAME = "dodo"
REDELIVER = "Developer > Webhooks > the endpoint > Replay; single messages under Logs."
CUSTOMER_PREFIX = "cus_"
SCHEME = standard_webhooks()
DISPUTES = {
    "dispute.lost": "lost",
    "dispute.accepted": "accepted",
    "dispute.won": "won",
    "dispute.opened": "opened",
    "dispute.challenged": "challenged",
    "dispute.expired": "expired",
    "dispute.cancelled": "cancelled",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event, data = event_name_of(raw.get("type")), dict_of(raw.get("data"))
    customer = dict_of(data.get("customer"))
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(inbound.headers.get("webhook-id")),
        occurred_at=from_iso(data.get("created_at")) or from_iso(raw.get("timestamp")),
        hidden=dict_of(data.get("metadata")),
        contact=Contact(email=customer.get("email"), name=customer.get("name"), phone=customer.get("phone_number")),
        aliases=aliases_of(NAME, customer.get("customer_id"), data.get("subscription_id")),
        provider_id=own_id(customer.get("customer_id"), CUSTOMER_PREFIX),
    )
    if event == "payment.succeeded":
        if data.get("is_update_payment_method") is True:
            return remembered(view, "a changed payment method: no money was collected", rules)
        return sale(
            NAME,
            view,
            rules,
            _total(data),
            keys=keys_of(
                data.get("payment_id"),
                data.get("invoice_id"),
                None if data.get("subscription_id") else data.get("checkout_session_id"),
            ),
            weak_keys=keys_of(data.get("invoice_id"), data.get("checkout_session_id")),
            reason="a succeeded payment",
            products=products_in(data.get("product_cart"), id="product_id", name="name"),
            promotion_codes=(data.get("discount_id"),),
        )
    if event == "refund.succeeded":
        return refunded(
            view,
            money_of(data.get("amount"), data.get("currency"), "iso"),
            reference=identifier_of(data.get("refund_id")),
            keys=keys_of(data.get("payment_id")),
            status="succeeded",
        )
    if event in DISPUTES:
        return refunded(
            view,
            money_of(data.get("amount"), data.get("currency"), "iso"),
            reference=identifier_of(data.get("dispute_id")),
            keys=keys_of(data.get("payment_id")),
            status=DISPUTES[event],
            kind="dispute",
        )
    return remembered(view, f"{event or 'an event without a type'} is not a collected payment", rules)


def _total(data: dict[str, Any]) -> Money | str:
    return total_paid(data.get("total_amount"), data.get("tax"), data.get("currency"), "iso")


VECTORS = (
    Vector(
        body=b'{"type":"payment.succeeded"}',
        headers={
            "webhook-id": "msg_1",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1,1Nh2+haAJt42xjPASfgOmSYTdhFmq56JpJf2qJvkMFI=",
        },
        secret="whsec_YSBkb2RvIHZlY3RvciBvZiAyNCBieXRl",  # noqa: S106 (of the vector)
        origin="library: PyPI standardwebhooks 1.1.0, as dodopayments 1.123.0 calls it",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Dodo Payments",
    SCHEME,
    read,
    customer_prefix=CUSTOMER_PREFIX,
    vectors=VECTORS,
    set_up=SetUp(redeliver=REDELIVER, usual_prefixes=("whsec_",)),
)
