"""Stripe as a source: its signature, and which function maps which type of event."""

from collections.abc import Callable

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.set_up import Link, SetUp
from app.sources.signatures import HmacScheme
from app.sources.stripe import checkout, customers, invoices, payments, refunds
from app.sources.stripe.event import StripeEvent, read_event
from app.sources.stripe.others import map_other, read_who
from app.sources.stripe.persons import CUSTOMER_PREFIX
from app.sources.stripe.references import notice_order_numbers
from app.sources.webhook import Webhook

NAME = "stripe"
REDELIVER = (
    "Workbench > Webhooks > the endpoint > Event deliveries > Resend. `bridge backfill stripe --since 7d` fetches all that are"
    " missing."
)

SCHEME = HmacScheme(header="Stripe-Signature", template="{t}.{body}", pairs=("t", "v1"), tolerance_seconds=300)
"""Only v1 counts; the key is the whole secret, whsec_ included. https://docs.stripe.com/webhooks#verify-manually"""

MAPPERS: dict[str, Callable[[StripeEvent], Mapped]] = {
    "checkout.session.completed": checkout.map_completed,
    "checkout.session.async_payment_succeeded": checkout.map_async_succeeded,
    "checkout.session.async_payment_failed": checkout.map_unpaid,
    "checkout.session.expired": checkout.map_unpaid,
    "invoice.paid": invoices.map_paid,
    "invoice.payment_succeeded": invoices.map_paid,
    "invoice_payment.paid": invoices.map_payment_link,
    "payment_intent.succeeded": payments.map_intent_succeeded,
    "charge.succeeded": payments.map_charge_paid,
    "charge.captured": payments.map_charge_paid,
    "customer.created": customers.map_customer,
    "customer.updated": customers.map_customer,
    "customer.subscription.created": customers.map_subscription_created,
    "customer.subscription.updated": customers.map_subscription_updated,
    "charge.refunded": refunds.map_charge_refunded,
    "charge.refund.updated": refunds.map_refund,
    "refund.created": refunds.map_refund,
    "refund.updated": refunds.map_refund,
    "refund.failed": refunds.map_refund,
    "charge.dispute.created": refunds.map_dispute,
    "charge.dispute.updated": refunds.map_dispute,
    "charge.dispute.closed": refunds.map_dispute,
    "charge.dispute.funds_withdrawn": refunds.map_dispute,
    "charge.dispute.funds_reinstated": refunds.map_dispute,
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    """Raises MalformedEvent if the body is not an event; whatever else may be wrong with it is an outcome."""
    event = read_event(inbound.body, rules)
    if event.is_thin:
        reason = (
            f"{event.type} is a thin event, which tells no amounts: create a snapshot destination in Stripe instead"
        )
        return event.ignore(reason)
    if event.is_test and not rules.accepts_test_events(NAME):
        reason = "Stripe test-mode event. Set STRIPE_ALLOW_TEST_EVENTS=1 to accept these."
        return event.ignore(reason, who=read_who(event), carries_identity=False)
    mapper = MAPPERS.get(event.type)
    if mapper is None:
        return map_other(event, f"{event.type} is not a conversion")
    if not event.object:
        return event.ignore(f"{event.type} came without its object (data.object): nothing can be read from it")
    return mapper(event)


VECTORS = (
    Vector(
        body=b'{"id":"evt_1","object":"event"}',
        headers={
            "stripe-signature": "t=1700000000,v1=17f0c3f614f0f255b6a445e55fc57584cdf499c92302df8100f8863bab4f1377"
        },
        secret="whsec_vector_of_the_contract_suite",  # noqa: S106 (of the vector)
        origin="library: PyPI stripe 16.1.0, WebhookSignature",
        at=1700000000,
    ),
)

PAGES = {
    "pi_": ("payment", "payments"),
    "ch_": ("payment", "payments"),
    "py_": ("payment", "payments"),
    "in_": ("invoice", "invoices"),
    "cus_": ("customer", "customers"),
    "sub_": ("subscription", "subscriptions"),
    "cs_": ("checkout session", "checkout/sessions"),
    "evt_": ("event", "events"),
}
DASHBOARD = "https://dashboard.stripe.com"
LINKS = (
    Link("cs_test_", "checkout session", f"{DASHBOARD}/test/checkout/sessions/{{id}}"),
    *(
        Link(prefix, what, f"{DASHBOARD}/{path}/{{id}}", test=f"{DASHBOARD}/test/{path}/{{id}}")
        for prefix, (what, path) in PAGES.items()
    ),
)

SOURCE = Webhook(
    NAME,
    "Stripe",
    SCHEME,
    read,
    secret_prefix="whsec_",  # noqa: S106 (how every secret begins)
    customer_prefix=CUSTOMER_PREFIX,
    telling_event="checkout.session.completed",
    notices=notice_order_numbers,
    vectors=VECTORS,
    looked_for={
        "amount": ("amount_total", "amount_paid", "amount_received", "amount_captured"),
        "currency": ("currency",),
        "email": ("customer_details.email", "customer_email", "billing_details.email", "receipt_email"),
        "customer_id": ("metadata", "client_reference_id"),
        "click_id": ("metadata", "client_reference_id"),
    },
    set_up=SetUp(redeliver=REDELIVER, usual_prefixes=("whsec_",), marks_tests=True, links=LINKS),
)
