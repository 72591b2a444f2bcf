"""Which of Stripe's events the bridge asks for. https://docs.stripe.com/api/events/types"""

from app.model import Rules

EVENTS = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "invoice.paid",
    "invoice_payment.paid",
    "payment_intent.succeeded",
    "customer.created",
    "customer.updated",
    "customer.subscription.created",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.closed",
)
CHARGE_EVENTS = ("charge.succeeded", "charge.captured")
"""Only with `charge` in STRIPE_SALE_EVENTS: for all others they are noise."""


def wanted_events(rules: Rules) -> tuple[str, ...]:
    """The event types that say something new under these rules."""
    return EVENTS + (CHARGE_EVENTS if "charge" in rules.sale_events else ())
