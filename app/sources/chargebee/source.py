"""Chargebee.

Signing: https://www.chargebee.com/docs/billing/2.0/site-configuration/webhook_settings (Basic authentication, user:password).
Payload: https://apidocs.chargebee.com/docs/api/events. Money comes with payment_succeeded.
"""

from typing import Any

from app.model import Inbound, Mapped, Rules
from app.money import Money
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import refunded, sale, trial_started
from app.sources.parse import from_unix, identifier_of, text_of
from app.sources.payment import (
    aliases_of,
    keys_of,
    kind_of_id,
    money_of,
    object_in,
    products_in,
    remembered,
    total_paid,
)
from app.sources.set_up import SetUp
from app.sources.signatures import StaticSecret
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "chargebee"
REDELIVER = "Logs > Webhooks (or Events) > the event > Resend webhook, one at a time."
SCHEME = StaticSecret(form="basic")
TRIALS = ("subscription_created", "subscription_started")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = object_in(inbound)
    event, content = event_name_of(raw.get("event_type")), dict_of(raw.get("content"))
    transaction, customer, subscription = (
        dict_of(content.get(name)) for name in ("transaction", "customer", "subscription")
    )
    subscription_id = subscription.get("id") or transaction.get("subscription_id")
    view = Submission(
        event=event,
        submission_id=None,
        body=inbound.body,
        event_id=identifier_of(raw.get("id")),
        occurred_at=from_unix(transaction.get("date")) or from_unix(raw.get("occurred_at")),
        hidden={**_own_fields(customer), **_own_fields(subscription)},
        contact=Contact(
            email=customer.get("email"),
            first=customer.get("first_name"),
            last=customer.get("last_name"),
            phone=customer.get("phone"),
            customer_id=customer.get("id") or transaction.get("customer_id"),
        ),
        aliases=aliases_of(NAME, kind_of_id("subscription", subscription_id)),
    )
    kind, currency = text_of(transaction.get("type")), transaction.get("currency_code")
    gateway = identifier_of(transaction.get("id_at_gateway"))
    invoice = _invoice(transaction, content)
    if event == "payment_succeeded" and kind in ("payment", None):
        return sale(
            NAME,
            view,
            rules,
            _paid(transaction, dict_of(content.get("invoice")), currency),
            products=products_in(dict_of(content.get("invoice")).get("line_items"), id="entity_id", name="description"),
            keys=keys_of(transaction.get("id"), invoice),
            weak_keys=keys_of(invoice),  # several payments may pay it, each a Sale
            invoice_id=invoice,
            reason="a succeeded payment",
            gateway_keys=(f"stripe:{gateway}",) if gateway and gateway[:3] in ("pi_", "ch_") else (),
        )
    if event == "payment_refunded" or kind == "payment_reversal":
        linked = next(map(dict_of, list_of(transaction.get("linked_payments"))), {})
        return refunded(
            view,
            money_of(transaction.get("amount"), currency, "iso"),
            reference=identifier_of(transaction.get("id")),
            keys=keys_of(transaction.get("refunded_txn_id") or linked.get("txn_id") or linked.get("id"))
            or keys_of(dict_of(content.get("credit_note")).get("reference_invoice_id") or invoice),
            status=text_of(transaction.get("status")) or "refunded",
            kind="dispute" if kind == "payment_reversal" else "refund",
        )
    if event in TRIALS and text_of(subscription.get("status")) == "in_trial":
        return trial_started(NAME, view, rules, identifier_of(subscription.get("id")))
    return remembered(view, f"{event or 'an event without a type'} is not a collected payment", rules)


def _own_fields(thing: dict[str, Any]) -> dict[str, Any]:
    """Custom fields cf_… at the top of the object, and its meta_data, by their own names."""
    fields = {name.removeprefix("cf_"): value for name, value in thing.items() if name.startswith("cf_")}
    return {**fields, **dict_of(thing.get("meta_data"))}


def _paid(transaction: dict[str, Any], invoice: dict[str, Any], currency: Any) -> Money | str:
    """What was paid. Its tax is known where it paid the whole invoice."""
    amount = transaction.get("amount")
    return total_paid(amount, invoice.get("tax") if amount == invoice.get("total") else None, currency, "iso")


def _invoice(transaction: dict[str, Any], content: dict[str, Any]) -> str | None:
    """The invoice that this payment paid by itself. Where several did, each is a Sale of its own under its transaction's id."""
    linked = [dict_of(entry) for entry in list_of(transaction.get("linked_invoices"))]
    invoice = dict_of(content.get("invoice"))
    tried = map(dict_of, list_of(invoice.get("linked_payments")))
    paid = [entry for entry in tried if text_of(entry.get("txn_status")) in (None, "success")]
    if len(linked) > 1 or len(paid) > 1:
        return None
    return identifier_of(linked[0].get("invoice_id") if linked else invoice.get("id"))


VECTORS = (
    Vector(
        body=b'{"event_type":"payment_succeeded"}',
        headers={"authorization": "Basic YnJpZGdlOmE6cGFzc3dvcmQtd2l0aC1jb2xvbnM="},
        secret="bridge:a:password-with-colons",  # noqa: S106 (of the vector)
        origin="formula: RFC 7617, as https://www.chargebee.com/docs/billing/2.0/site-configuration/webhook_settings has it",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Chargebee",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(redeliver=REDELIVER, is_secret_chosen=True, secret_form="bridge:{secret}"),  # noqa: S106 (a template)
)
