"""Razorpay.

Signing: https://razorpay.com/docs/webhooks/validate-test/ (hex over the body).
Payload: https://razorpay.com/docs/webhooks/payloads/payments/. One captured payment comes in several events (payment.captured,
order.paid, invoice.paid, payment_link.paid, subscription.charged), each with the same payment.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale
from app.sources.parse import from_unix, identifier_of, text_of
from app.sources.payment import aliases_of, keys_of, money_of, object_in, own_id, remembered
from app.sources.set_up import Link, SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "razorpay"
REDELIVER = "Developers > Webhooks > Replay events, for the last seven days."
CUSTOMER_PREFIX = "cust_"
NOBODYS_EMAIL = "void@razorpay.com"
"""Stands in payments of all who gave no address."""
SCHEME = HmacScheme(header="X-Razorpay-Signature")
MONEY = ("payment.captured", "order.paid", "invoice.paid", "payment_link.paid", "subscription.charged")
DISPUTES = {
    "payment.dispute.created": "created",
    "payment.dispute.lost": "lost",
    "payment.dispute.won": "won",
    "payment.dispute.closed": "closed",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event, payload = event_name_of(raw.get("event")), dict_of(raw.get("payload"))
    payment, order, subscription, refund, dispute, link, invoice = (
        dict_of(dict_of(payload.get(name)).get("entity"))
        for name in ("payment", "order", "subscription", "refund", "dispute", "payment_link", "invoice")
    )
    buyer = {**dict_of(invoice.get("customer_details")), **dict_of(link.get("customer"))}
    customer = payment.get("customer_id") or subscription.get("customer_id")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(inbound.headers.get("x-razorpay-event-id")),
        occurred_at=from_unix(payment.get("created_at")) or from_unix(raw.get("created_at")),
        hidden={
            name: value for holder in (link, invoice, subscription, order, payment) for name, value in _notes(holder)
        },
        contact=Contact(
            email=_email(payment) or _email(buyer),
            name=buyer.get("name") or buyer.get("customer_name"),
            phone=payment.get("contact") or buyer.get("contact"),
        ),
        aliases=aliases_of(NAME, customer, subscription.get("id")),
        provider_id=own_id(customer, CUSTOMER_PREFIX),
    )
    if event in MONEY and text_of(payment.get("status")) == "captured":
        return sale(
            NAME,
            view,
            rules,
            money_of(payment.get("amount"), payment.get("currency"), "iso"),
            keys=keys_of(payment.get("id"), payment.get("order_id"), payment.get("invoice_id")),
            weak_keys=keys_of(payment.get("order_id"), payment.get("invoice_id")),  # an order may be paid in parts
            reason="a captured payment",
            event_name="subscription_renewed" if subscription else "order_paid",
        )
    dated_view = replace(view, occurred_at=from_unix(raw.get("created_at")))
    if event == "refund.processed":
        return refunded(
            dated_view,
            money_of(refund.get("amount"), refund.get("currency"), "iso"),
            reference=identifier_of(refund.get("id")),
            keys=keys_of(refund.get("payment_id") or payment.get("id")),
            status=text_of(payment.get("refund_status")) or "processed",
        )
    if event in DISPUTES:
        return refunded(
            dated_view,
            money_of(dispute.get("amount_deducted") or dispute.get("amount"), dispute.get("currency"), "iso"),
            reference=identifier_of(dispute.get("id")),
            keys=keys_of(dispute.get("payment_id") or payment.get("id")),
            status=DISPUTES[event],
            kind="dispute",
        )
    return remembered(view, f"{event or 'an event without a name'} is not a captured payment", rules)


def _email(holder: dict[str, Any]) -> str | None:
    email = text_of(holder.get("email"))
    return None if email and email.casefold() == NOBODYS_EMAIL else email


def _notes(entity: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """An object; a list where it is empty."""
    return dict_of(entity.get("notes")).items()


VECTORS = (
    Vector(
        body=b"""{
  "event": "payment.authorized",
  "entity": "event",
  "contains": [
    "payment"
  ],
  "payload": {
    "payment": {
      "entity": {
        "id": "pay_6koWN7bvxujzxM",
        "entity": "payment",
        "amount": 1000000,
        "currency": "INR",
        "status": "captured",
        "order_id": "order_100000000order",
        "international": false,
        "method": "card",
        "amount_refunded": 0,
        "refund_status": null,
        "captured": true,
        "description": "random description",
        "card_id": "card_6koWNAT6LASUqy",
        "bank": null,
        "wallet": null,
        "vpa": null,
        "email": "a@b.com",
        "contact": "+919999999999",
        "notes": {
          "merchant_order_id": "random order id"
        },
        "fee": 23000,
        "service_tax": 3000,
        "error_code": null,
        "error_description": null,
        "created_at": 1479978483
      }
    }
  },
  "created_at": 1400826760
}
""",
        headers={"x-razorpay-signature": "d60e67fd884556c045e9be7dad57903e33efc7172c17c6e3ef77db42d2b366e9"},
        secret="key_secret",  # noqa: S106 (of the vector)
        origin="published: razorpay/razorpay-python, tests/test_client_utility.py with fake_payment_authorized_webhook.json",
    ),
    Vector(
        body=b'{"event":"payment.captured"}',
        headers={"x-razorpay-signature": "6bf43cb751fcd2ba71bbc81c114f771626278104026ef25d297f27ffaac0926a"},
        secret="razorpay-vector-secret",  # noqa: S106 (of the vector)
        origin="library: PyPI razorpay 2.0.1, utility.verify_webhook_signature",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Razorpay",
    SCHEME,
    read,
    customer_prefix=CUSTOMER_PREFIX,
    vectors=VECTORS,
    set_up=SetUp(
        redeliver=REDELIVER,
        links=(
            Link("pay_", "payment", "https://dashboard.razorpay.com/app/payments/{id}"),
            Link("order_", "order", "https://dashboard.razorpay.com/app/orders/{id}"),
        ),
        is_secret_chosen=True,
        wrong_prefixes={"rzp_live_": "an API key ID (rzp_…)", "rzp_test_": "an API key ID (rzp_…)"},
    ),
)
