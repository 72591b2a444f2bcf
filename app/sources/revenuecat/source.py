"""RevenueCat: purchases in the app stores.

Signing: https://www.revenuecat.com/docs/integrations/webhooks (the Authorization header repeats a text set in the dashboard).
Payload: https://www.revenuecat.com/docs/integrations/webhooks/event-types-and-fields
"""

from dataclasses import replace
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import refunded, sale, trial_started
from app.sources.parse import from_unix, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    is_refused_test,
    keys_of,
    money_of,
    object_in,
    products_in,
    refuse_test,
    remembered,
)
from app.sources.set_up import SetUp
from app.sources.signatures import StaticSecret
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "revenuecat"
SCHEME = StaticSecret()
PURCHASES = {
    "INITIAL_PURCHASE": "order_paid",
    "RENEWAL": "subscription_renewed",
    "NON_RENEWING_PURCHASE": "order_paid",
}
NOT_SOLD = ("PROMOTIONAL", "TEST_STORE")
GATEWAYS = {"STRIPE": ("stripe", ("in_", "pi_", "ch_")), "PADDLE": ("paddle", ("txn_",))}
"""Stores that may report the same payment themselves: their sources here, and how the ids of their payments begin."""


def read(inbound: Inbound, rules: Rules) -> Mapped:
    event = dict_of(object_in(inbound).get("event"))
    kind = event_name_of(event.get("type"))
    attributes = {
        name: dict_of(entry).get("value") for name, entry in dict_of(event.get("subscriber_attributes")).items()
    }
    users = (event.get("app_user_id"), event.get("original_app_user_id"), *list_of(event.get("aliases")))
    subscription = identifier_of(event.get("original_transaction_id"))
    view = Submission(
        event=kind,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(event.get("id")),
        occurred_at=from_unix(event.get("purchased_at_ms")) or from_unix(event.get("event_timestamp_ms")),
        hidden={name: value for name, value in attributes.items() if not name.startswith("$")},
        contact=Contact(
            email=attributes.get("$email"),
            name=attributes.get("$displayName"),
            phone=attributes.get("$phoneNumber"),
            customer_id=next((entry for entry in users if identifier_of(entry)), None),  # $RCAnonymousID:… is nobody's
        ),
        aliases=aliases_of(NAME, *users[:20], f"transaction:{subscription}" if subscription else None),
    )
    if is_refused_test(NAME, rules, text_of(event.get("environment")) == "SANDBOX"):
        return refuse_test(NAME, "RevenueCat", view, rules)
    if kind == "CANCELLATION" and text_of(event.get("cancel_reason")) == "CUSTOMER_SUPPORT":
        return _money_back(view, event, "refunded")
    if kind == "REFUND_REVERSED":
        return _money_back(view, event, "reversed")
    if kind not in PURCHASES:
        return remembered(view, f"{kind or 'an event without a type'} is not a collected payment", rules)
    if event.get("is_family_share") is True or text_of(event.get("store")) in NOT_SOLD:
        return remembered(view, "no money was collected: it was shared or given away", rules)
    keys = keys_of(event.get("transaction_id"))
    if text_of(event.get("period_type")) == "TRIAL":
        return trial_started(NAME, view, rules, f"trial:{keys[0]}" if keys else None)
    gateway, beginnings = GATEWAYS.get(text_of(event.get("store")) or "", ("", ()))
    return sale(
        NAME,
        view,
        rules,
        _price(event),
        keys=keys,
        reason="a purchase in an app store",
        products=products_in([event], id="product_id", name=""),
        promotion_codes=(event.get("offer_code"),),
        event_name=PURCHASES[kind],
        metadata={"product": product} if (product := text_of(event.get("product_id"))) else None,
        gateway_keys=tuple(f"{gateway}:{key}" for key in keys if key.startswith(beginnings)),
    )


def _price(event: dict[str, Any]) -> Money | str:
    """What was paid; where either part of it is unknown, `price`, which is always in US dollars: of a payment in another currency,
    it is converted, and not to whole cents."""
    amount, currency, price = event.get("price_in_purchased_currency"), event.get("currency"), event.get("price")
    if (amount is None or currency is None) and price is not None:
        return money_of(round(price, 2) if isinstance(price, float) else price, "USD", "major")
    return money_of(amount, currency, "major")


def _money_back(view: Submission, event: dict[str, Any], status: str) -> Mapped:
    """The latest period was refunded; its price may be negative."""
    price, keys = _price(event), keys_of(event.get("transaction_id"))
    money = Money(abs(price.minor), price.currency) if isinstance(price, Money) else price
    dated_view = replace(view, occurred_at=from_unix(event.get("event_timestamp_ms")))
    return refunded(dated_view, money, reference=f"{keys[0]}:refunded" if keys else None, keys=keys, status=status)


VECTORS = (
    Vector(
        body=b'{"event":{"type":"TEST"}}',
        headers={"authorization": "Bearer a text set in the dashboard"},
        secret="Bearer a text set in the dashboard",  # noqa: S106 (of the vector)
        origin="formula: https://www.revenuecat.com/docs/integrations/webhooks: the header as it was set in the dashboard",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "RevenueCat",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(
        is_secret_chosen=True,
        marks_tests=True,
        wrong_prefixes={"sk_": "an API key (sk_…)", "appl_": "an SDK key (appl_…)", "goog_": "an SDK key (goog_…)"},
    ),
)
