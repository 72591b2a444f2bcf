"""Paddle Billing.

Signing: https://developer.paddle.com/webhooks/signature-verification (Paddle-Signature: ts=…;h1=…, over "ts:body").
Payload: https://developer.paddle.com/webhooks/overview. Money comes with transaction.completed, which has no e-mail address:
customer.created and its like name the customer.
"""

from dataclasses import replace
from typing import Any, Literal

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale, trial_started
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    keys_of,
    money_of,
    object_in,
    own_id,
    products_in,
    remembered,
    total_paid,
    whole,
)
from app.sources.set_up import Link, SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "paddle"
REDELIVER = "Paddle's API resends a notification: `POST /notifications/<id>/replay`."
CUSTOMER_PREFIX = "ctm_"
SCHEME = HmacScheme(header="Paddle-Signature", pairs=("ts", "h1"), separator=";", template="{t}:{body}")
"""Paddle's libraries take 5 s of age; a queue on its side would cost events."""
CUSTOMERS = ("customer.created", "customer.updated", "customer.imported")
MONEY_BACK: dict[str, Literal["refund", "dispute"]] = {
    "refund": "refund",
    "chargeback": "dispute",
    "chargeback_reverse": "dispute",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event, data = event_name_of(raw.get("event_type")), dict_of(raw.get("data"))
    is_customer = event in CUSTOMERS
    customer = data.get("id") if is_customer else data.get("customer_id")
    subscription = data.get("id") if event.startswith("subscription.") else data.get("subscription_id")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(raw.get("event_id")),
        occurred_at=from_iso(data.get("billed_at")) or from_iso(raw.get("occurred_at")),
        hidden=dict_of(data.get("custom_data")),
        contact=Contact(email=data.get("email"), name=data.get("name")) if is_customer else Contact(),
        aliases=aliases_of(NAME, customer, subscription),
        provider_id=own_id(customer, CUSTOMER_PREFIX),
    )
    if event == "transaction.completed":
        return _transaction(view, data, rules)
    if event.startswith("adjustment."):
        return _adjustment(view, raw, data, rules)
    if is_customer:
        return remembered(view, "a customer: no money, and kept for their transactions", rules, completes_identity=True)
    if event == "subscription.created" and text_of(data.get("status")) == "trialing":
        return trial_started(NAME, view, rules, identifier_of(data.get("id")), hold="person")
    return remembered(view, f"{event or 'an event without event_type'} is not a collected payment", rules)


def _transaction(view: Submission, data: dict[str, Any], rules: Rules) -> Mapped:
    """Its totals are text in the currency's smallest unit; payout_totals are in another currency."""
    totals = dict_of(dict_of(data.get("details")).get("totals"))
    total, tax = totals.get("grand_total"), totals.get("grand_total_tax")
    if tax is None and whole(totals.get("credit")) in (None, 0):  # else it is that of the credit as well
        tax = totals.get("tax")
    money = total_paid(total, tax, data.get("currency_code"), "iso")
    return sale(
        NAME,
        view,
        rules,
        money,
        keys=keys_of(data.get("id"), data.get("invoice_id")),
        reason="a completed transaction",
        products=products_in(data.get("items"), id="price.product_id", name="price.name"),
        promotion_codes=(data.get("discount_id"),),
        event_name="subscription_renewed" if data.get("origin") == "subscription_recurring" else "order_paid",
        hold="person",
    )


def _adjustment(view: Submission, raw: dict[str, Any], data: dict[str, Any], rules: Rules) -> Mapped:
    """Money goes back once it is approved. Credits and warnings of a chargeback move none."""
    action, status = text_of(data.get("action")) or "", text_of(data.get("status")) or ""
    if action not in MONEY_BACK or status not in ("approved", "reversed"):
        return remembered(view, f"an adjustment ({action}, {status}) that gives no money back", rules)
    totals = dict_of(data.get("totals"))
    return refunded(
        replace(view, occurred_at=from_iso(raw.get("occurred_at"))),
        money_of(totals.get("total"), totals.get("currency_code") or data.get("currency_code"), "iso"),
        reference=identifier_of(data.get("id")),
        keys=keys_of(data.get("transaction_id")),
        status="reversed" if action == "chargeback_reverse" else status,
        kind=MONEY_BACK[action],
    )


VECTORS = (
    Vector(
        body=b"hello-world",
        headers={
            "paddle-signature": "ts=1696195954;h1=dummy;"
            "h1=d96299976a6eb066f484d7fde011ac56fc32b38fc9940bc419d6e537fdc6ef02"
        },
        secret="pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",  # noqa: S106 (of the vector)
        origin="published: PaddleHQ/paddle-python-sdk, tests/Unit/Notification/test_Verifier.py",
        at=1696195954,
    ),
)

SOURCE = Webhook(
    NAME,
    "Paddle",
    SCHEME,
    read,
    customer_prefix=CUSTOMER_PREFIX,
    vectors=VECTORS,
    set_up=SetUp(
        redeliver=REDELIVER,
        links=(Link("txn_", "transaction", "https://vendors.paddle.com/transactions-v2/{id}"),),
        usual_prefixes=("pdl_ntfset_", "pdl_ntf_"),
        wrong_prefixes={
            "pdl_live_apikey_": "an API key (pdl_…_apikey_…)",
            "pdl_sdbx_apikey_": "an API key (pdl_…_apikey_…)",
            "live_": "a client-side token (live_…)",
            "test_": "a client-side token (test_…)",
        },
    ),
)
