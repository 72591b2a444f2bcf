"""WooCommerce.

Signing: https://woocommerce.com/document/webhooks/ (base64 over the body; the key is the secret with its HTML entities undone).
Payload: https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties. An order is paid when it is completed,
or is processing and has a date of payment. When a webhook is saved, an unsigned ping comes: webhook_id=12.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from app.model import Adjustment, Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.handshake import woocommerce_ping
from app.sources.outcomes import refunded, sale
from app.sources.parse import from_iso, identifier_of, page_parameters, text_of
from app.sources.payment import (
    aliases_of,
    keys_of,
    kind_of_id,
    money_of,
    named,
    object_in,
    products_in,
    remembered,
    total_of,
    total_paid,
)
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "woocommerce"
REDELIVER = "WooCommerce neither retries nor resends a request."
SCHEME = HmacScheme(
    header="X-WC-Webhook-Signature",
    encoding="base64",
    secret_encoding="html",  # noqa: S106 (the name of an encoding)
)
PAID = ("processing", "completed")
LANDING = "_wc_order_attribution_session_entry"


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    billing, notes = dict_of(raw.get("billing")), named(raw.get("meta_data"), "key")
    shop = shop_of(inbound.headers.get("x-wc-webhook-source"))
    view = Submission(
        event=event_name_of(inbound.headers.get("x-wc-webhook-topic")) or "order",
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(inbound.headers.get("x-wc-webhook-delivery-id")),
        occurred_at=_utc(raw.get("date_paid_gmt")) or _utc(raw.get("date_created_gmt")),
        hidden=notes,
        page=page_parameters(notes.get(LANDING)),
        contact=Contact(
            email=billing.get("email"),
            first=billing.get("first_name"),
            last=billing.get("last_name"),
            phone=billing.get("phone"),
        ),
        aliases=aliases_of(NAME, kind_of_id("customer", identifier_of(raw.get("customer_id"))), account=shop),
        account=shop,
    )
    keys = keys_of(raw.get("number") or raw.get("id"), kind_of_id("order", raw.get("id")))
    status, currency = text_of(raw.get("status")), raw.get("currency")
    if "status" not in raw or "billing" not in raw:
        return remembered(view, f"{view.event} is not about an order", rules)
    refunds = [money_of(dict_of(entry).get("total"), currency, "major") for entry in list_of(raw.get("refunds"))]
    modified_at = _utc(raw.get("date_modified_gmt"))
    reference = f"{shop or 'shop'}:{keys[0]}:refunded" if keys else None
    if refunds or status == "refunded":
        back = total_of(refunds, currency) if refunds else money_of(raw.get("total"), currency, "major")
        dated = replace(view, occurred_at=modified_at)
        return refunded(dated, back, reference=reference, keys=keys, status=status or "refunded")
    if status not in PAID:
        return remembered(view, f"the order is not paid: it is {status}", rules, keys=keys)
    dates = (raw.get("date_paid_gmt", ""), raw.get("date_paid"))
    if status == "processing" and text_of(raw.get("payment_method")) and dates == (None, None):
        # WooCommerce dates each payment. Cash on delivery, and what works like it, is collected later.
        return remembered(view, "the order is not paid yet: it has no date of payment", rules, keys=keys)
    total, kept = _total(raw), None
    if reference and modified_at and raw.get("refunds") == [] and isinstance(total, Money) and total.minor > 0:
        kept = Adjustment("refund", reference, Money(0, total.currency), status, modified_at)  # a refund may be deleted
    return sale(
        NAME,
        view,
        rules,
        total,
        keys=keys,
        mark=kept,
        order_id=identifier_of(raw.get("number")),
        reason="a paid order",
        products=products_in(raw.get("line_items"), id="product_id", name="name"),
        promotion_codes=(entry.get("code") for entry in map(dict_of, list_of(raw.get("coupon_lines")))),
        gateway_keys=tuple(f"stripe:{key}" for key in keys_of(raw.get("transaction_id")) if key[:3] in ("pi_", "ch_")),
    )


def shop_of(url: Any) -> str | None:
    """The shop's host and path, which scope its order numbers."""
    text = text_of(url)
    if not text or len(text) > 300:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        return None
    return identifier_of(f"{parts.netloc}{parts.path}".casefold().rstrip("/"))


def _total(raw: dict[str, Any]) -> Money | str:
    return total_paid(raw.get("total"), raw.get("total_tax"), raw.get("currency"), "major")


def _utc(value: Any) -> Any:
    return from_iso(value, assume_utc=True)


VECTORS = (
    Vector(
        body=b'{"id":727}',
        headers={"x-wc-webhook-signature": "trqpPkKVUFPyYYLyCHm2qNvsmrawDZrtdDkC9dv2F8A="},
        secret="woo & &amp; vector &lt;secret&gt;",  # noqa: S106 (of the vector)
        origin="formula: woocommerce/woocommerce, class-wc-webhook.php, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "WooCommerce",
    SCHEME,
    read,
    pings=woocommerce_ping,
    vectors=VECTORS,
    set_up=SetUp(redeliver=REDELIVER, is_secret_chosen=True),
)
