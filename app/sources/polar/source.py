"""Polar.

Signing: https://polar.sh/docs/integrate/webhooks/delivery (Standard Webhooks; the key is the UTF-8 of the whole secret, of newer
ones base64 after whsec_). Payload: https://polar.sh/docs/integrate/webhooks/events. Money comes with order.paid.
"""

from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale, trial_started
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    keys_of,
    money_of,
    object_in,
    products_in,
    remembered,
    total_paid,
    whole,
)
from app.sources.set_up import SetUp
from app.sources.signatures import standard_webhooks
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "polar"
REDELIVER = "Settings > Webhooks > the delivery > Redeliver, or Polar's API: `POST /v1/webhooks/events/<id>/redeliver`."
SCHEME = standard_webhooks(key="either")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event, data = event_name_of(raw.get("type")), dict_of(raw.get("data"))
    customer = data if event.startswith("customer.") else dict_of(data.get("customer"))
    subscription = data.get("id") if event.startswith("subscription.") else data.get("subscription_id")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(inbound.headers.get("webhook-id")),
        occurred_at=from_iso(raw.get("timestamp")) or from_iso(data.get("created_at")),
        hidden={**dict_of(customer.get("metadata")), **dict_of(data.get("metadata"))},
        contact=Contact(
            email=customer.get("email"), name=customer.get("name"), customer_id=customer.get("external_id")
        ),
        aliases=aliases_of(NAME, customer.get("id") or data.get("customer_id"), subscription),
    )
    currency, billing = data.get("currency"), text_of(data.get("billing_reason"))
    if event == "order.paid":
        return sale(
            NAME,
            view,
            rules,
            _paid(data),
            products=products_in([data.get("product")], id="id", name="name"),
            promotion_codes=(dict_of(data.get("discount")).get("code"),),
            keys=keys_of(data.get("id"), None if subscription else data.get("checkout_id")),
            reason="a paid order",
            event_name="subscription_renewed" if billing == "subscription_cycle" else "order_paid",
        )
    if event in ("refund.created", "refund.updated") and text_of(data.get("status")) == "succeeded":
        amount, tax = whole(data.get("amount")), whole(data.get("tax_amount")) or 0
        money: Money | str = money_of(None if amount is None else amount + tax, currency, "stripe")
        return refunded(
            view,
            money,
            reference=identifier_of(data.get("id")),
            keys=keys_of(data.get("order_id")),
            status="succeeded",
            kind="dispute" if data.get("dispute") else "refund",
        )
    if event == "subscription.created" and text_of(data.get("status")) == "trialing":
        return trial_started(NAME, view, rules, identifier_of(data.get("id")))
    return remembered(view, f"{event or 'an event without a type'} is not a collected payment", rules)


def _paid(data: dict[str, Any]) -> Money | str:
    """What was charged. A customer's balance may have paid the rest, or was charged on top; the tax in a part is not given."""
    total, net = whole(data.get("total_amount")), whole(data.get("net_amount"))
    balance = whole(data.get("applied_balance_amount"))
    if total is not None and balance:
        return total_paid(max(0, total + balance), None, data.get("currency"), "stripe")
    tax = total - net if total is not None and net is not None else 0
    return total_paid(data.get("total_amount"), tax, data.get("currency"), "stripe")


VECTORS = (
    Vector(
        body=b'{"type":"order.paid"}',
        headers={
            "webhook-id": "msg_1",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1,8U6lqlSCN6Lkn+FYbllPRUUvWpnrslDDtXl2molJbRE=",
        },
        secret="polar_whs_vector_secret",  # noqa: S106 (of the vector)
        origin="library: PyPI standardwebhooks 1.1.0, as polar-sdk 1.0.2 calls it",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Polar",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(
        redeliver=REDELIVER,
        usual_prefixes=("polar_whs_", "whsec_"),
        wrong_prefixes={"polar_oat_": "an access token (polar_oat_…)", "polar_pat_": "an access token (polar_pat_…)"},
    ),
)
