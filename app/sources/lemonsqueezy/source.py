"""Lemon Squeezy.

Signing: https://docs.lemonsqueezy.com/help/webhooks/signing-requests (hex over the body).
Payload: https://docs.lemonsqueezy.com/help/webhooks/event-types. A subscription's first payment comes as its order and as its first
invoice, which have nothing in common: the order counts. Custom data is on orders and subscriptions and never on invoices.
"""

from dataclasses import replace
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale, trial_started
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    is_refused_test,
    kind_of_id,
    money_of,
    object_in,
    products_in,
    refuse_test,
    remembered,
    total_paid,
    whole,
)
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "lemonsqueezy"
REDELIVER = "Settings > Webhooks > recent events > Resend."
SCHEME = HmacScheme(header="X-Signature")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    meta, data = dict_of(raw.get("meta")), dict_of(raw.get("data"))
    attributes, kind = dict_of(data.get("attributes")), text_of(data.get("type")) or ""
    event = event_name_of(meta.get("event_name"))
    subscription = data.get("id") if kind == "subscriptions" else attributes.get("subscription_id")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        occurred_at=from_iso(attributes.get("created_at")),
        hidden=dict_of(meta.get("custom_data")),
        contact=Contact(email=attributes.get("user_email"), name=attributes.get("user_name")),
        aliases=aliases_of(
            NAME, kind_of_id("customer", attributes.get("customer_id")), kind_of_id("subscription", subscription)
        ),
    )
    own_id = identifier_of(data.get("id"))
    keys = (f"{kind}/{own_id}",) if own_id and kind else ()
    view = replace(view, event_id=f"{event}:{keys[0]}:{_version(attributes)}" if keys else None)
    if is_refused_test(NAME, rules, attributes.get("test_mode"), meta.get("test_mode")):
        return refuse_test(NAME, "Lemon Squeezy", view, rules)
    status, billing = text_of(attributes.get("status")), text_of(attributes.get("billing_reason"))
    if event == "order_created" and status == "paid":
        items = products_in([attributes.get("first_order_item")], id="product_id", name="product_name")
        return sale(NAME, view, rules, _total(attributes), keys=keys, reason="a paid order", products=items)
    if event == "subscription_payment_success" and billing != "initial":
        return sale(
            NAME,
            view,
            rules,
            _total(attributes),
            keys=keys,
            reason="a paid subscription invoice",
            event_name="subscription_renewed",
        )
    if event == "subscription_payment_success":
        return remembered(view, "the first invoice of a subscription: its order is the Sale", rules)
    if event == "order_refunded" or (event == "subscription_payment_refunded" and billing != "initial"):
        money = money_of(
            attributes.get("refunded_amount") or attributes.get("total"), attributes.get("currency"), "cents"
        )
        reference = f"{keys[0]}:refunded" if keys else None
        return refunded(
            replace(
                view, occurred_at=from_iso(attributes.get("refunded_at")) or from_iso(attributes.get("updated_at"))
            ),
            money,
            reference=reference,
            keys=keys,
            status=status or "refunded",
        )
    if event == "subscription_created" and status == "on_trial" and keys:
        return trial_started(NAME, view, rules, keys[0])
    return remembered(view, f"{event or 'an event without a name'} is not a collected payment", rules)


def _total(attributes: dict[str, Any]) -> Money | str:
    return total_paid(attributes.get("total"), attributes.get("tax"), attributes.get("currency"), "cents")


def _version(attributes: dict[str, Any]) -> str:
    """Events have no id: the same object at another time, or with more of it refunded, is another event."""
    changed_at = text_of(attributes.get("updated_at")) or text_of(attributes.get("created_at")) or ""
    refunded = whole(attributes.get("refunded_amount"))
    return f"{changed_at}:{refunded}" if refunded else changed_at


VECTORS = (
    Vector(
        body=b'{"meta":{"event_name":"order_created"}}',
        headers={"x-signature": "a441063306ffac20c4ce209986e4874d47adab765d9457a2acab6c63663559dd"},
        secret="lemonsqueezy-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: lmsqueezy/laravel, VerifyWebhookSignature.php, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Lemon Squeezy",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(
        redeliver=REDELIVER, is_secret_chosen=True, marks_tests=True, wrong_prefixes={"eyJ": "an API key (eyJ…)"}
    ),
)
