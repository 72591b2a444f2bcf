"""Creem.

Signing: https://docs.creem.io/code/webhooks (creem-signature, hex over the body; newer endpoints: Standard Webhooks).
Payload: the same page. A subscription's first payment comes as checkout.completed and as subscription.paid, with one transaction.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.errors import SignatureError
from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import refunded, sale, trial_started
from app.sources.parse import from_unix_or_iso, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    is_refused_test,
    keys_of,
    money_of,
    object_in,
    own_id,
    products_in,
    refuse_test,
    remembered,
    total_paid,
)
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme, header_of, standard_webhooks
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "creem"
CUSTOMER_PREFIX = "cust_"
TESTS = ("test", "sandbox")


class Scheme:
    """Standard Webhooks where the request carries it, else the older header."""

    standard = standard_webhooks()
    older = HmacScheme(header="creem-signature")

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        if "webhook-signature" in inbound.headers:
            self.standard.verify(inbound, secrets, now)
            return
        name = "x-creem-signature" if "x-creem-signature" in inbound.headers else self.older.header
        signature = header_of(inbound.headers, name).removeprefix("sha256=")
        if not signature:
            raise SignatureError("the header holds no signature")
        self.older.verify(replace(inbound, headers={self.older.header: signature}), secrets, now)

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        if secret.startswith("whsec_"):
            return self.standard.sign(body, secret, now, url=url)
        return self.older.sign(body, secret, now, url=url)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event = event_name_of(raw.get("eventType") or raw.get("type"))
    thing = dict_of(raw.get("object")) or dict_of(raw.get("data"))
    order, last = dict_of(thing.get("order")), dict_of(thing.get("last_transaction"))
    bare = thing.get("customer") if isinstance(thing.get("customer"), str) else None
    customer, subscription = dict_of(thing.get("customer")), dict_of(thing.get("subscription"))
    customer_id = customer.get("id") or bare or order.get("customer")
    subscription_id = thing.get("id") if event.startswith("subscription.") else subscription.get("id")
    if isinstance(thing.get("subscription"), str):
        subscription_id = thing.get("subscription")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(raw.get("id")),
        occurred_at=from_unix_or_iso(raw.get("created_at")),
        hidden={**dict_of(subscription.get("metadata")), **dict_of(thing.get("metadata"))},
        contact=Contact(
            email=customer.get("email"), name=customer.get("name"), customer_id=identifier_of(thing.get("request_id"))
        ),
        aliases=aliases_of(NAME, customer_id, subscription_id),
        provider_id=own_id(customer_id, CUSTOMER_PREFIX),
    )
    if is_refused_test(NAME, rules, text_of(thing.get("mode")) in TESTS):
        return refuse_test(NAME, "Creem", view, rules)
    if event == "checkout.completed" and text_of(order.get("status")) == "paid":
        keys = keys_of(order.get("transaction"), order.get("id"))
        return sale(
            NAME,
            view,
            rules,
            _paid(order),
            keys=keys,
            weak_keys=keys[1:],
            reason="a paid checkout",
            products=products_in([thing.get("product")], id="id", name="name"),
            promotion_codes=(dict_of(thing.get("discount")).get("code"),),
        )
    if event == "subscription.paid":
        return sale(
            NAME,
            view,
            rules,
            _paid(last),
            products=products_in([thing.get("product")], id="id", name="name"),
            keys=keys_of(last.get("id") or thing.get("last_transaction_id")),
            reason="a paid subscription",
            event_name="subscription_renewed",
        )
    transaction = thing.get("transaction")
    paid_by = dict_of(transaction).get("id") or transaction
    # A renewal's transaction names the subscription's order, which is that of the first payment.
    keys = keys_of(paid_by if isinstance(paid_by, str) else None) or keys_of(dict_of(transaction).get("order"))
    if event == "refund.created" and text_of(thing.get("status")) == "succeeded":
        money = money_of(thing.get("refund_amount"), thing.get("refund_currency"), "stripe")
        return refunded(view, money, reference=identifier_of(thing.get("id")), keys=keys, status="succeeded")
    if event == "dispute.created":
        money, reference = (
            money_of(thing.get("amount"), thing.get("currency"), "stripe"),
            identifier_of(thing.get("id")),
        )
        return refunded(view, money, reference=reference, keys=keys, status="created", kind="dispute")
    if event == "subscription.trialing":
        return trial_started(NAME, view, rules, identifier_of(thing.get("id")))
    return remembered(view, f"{event or 'an event without a type'} is not a collected payment", rules)


def _paid(payment: dict[str, Any]) -> Money | str:
    """What was paid; the product's price is the list price and says nothing."""
    amount = payment.get("amount_paid") if payment.get("amount_paid") is not None else payment.get("amount")
    return total_paid(amount, payment.get("tax_amount"), payment.get("currency"), "stripe")


VECTORS = (
    Vector(
        body=b'{"eventType":"checkout.completed"}',
        headers={"creem-signature": "ef63ef495b4bae7fd7c53fa6745c4ced10a98168116ed2778ba876cce15d52c2"},
        secret="creem-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://docs.creem.io/code/webhooks, computed with openssl",
        at=1700000000,
    ),
    Vector(
        body=b'{"eventType":"checkout.completed"}',
        headers={
            "webhook-id": "msg_1",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1,RMhzPM+Bkn1X+eFsceYiWtShI7Y7m9CA2IJpgaMDZQI=",
        },
        secret="whsec_YSBjcmVlbSB2ZWN0b3Igb2YgMjRieXRl",  # noqa: S106 (of the vector)
        origin="library: PyPI standardwebhooks 1.1.0",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Creem",
    Scheme(),
    read,
    customer_prefix=CUSTOMER_PREFIX,
    vectors=VECTORS,
    set_up=SetUp(marks_tests=True, wrong_prefixes={"creem_": "an API key (creem_…)"}),
)
