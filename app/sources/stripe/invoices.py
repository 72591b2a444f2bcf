"""Invoices: subscriptions, their renewals and prorations, and invoices sent by hand.

https://docs.stripe.com/api/invoices/object
2025-03-31.basil moved subscription and its metadata below `parent`, and took payment_intent and charge away:
https://docs.stripe.com/changelog/basil/2025-03-31/adds-new-parent-field-to-invoicing-objects
Old and new paths are both read, whatever api_version says: one account can send both renderings.
"""

from app.model import Hold, Mapped, Who
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, first_key, id_of, integer_of, moment_of, object_of, objects_of
from app.sources.stripe.persons import metadata_of, name_person
from app.sources.stripe.purchases import gather_keys, invoice_money, make_sale, paid_of

NAMED_LATER = (None, "subscription_create", "manual")
"""Billing reasons of invoices that Checkout makes: the session, which alone carries the click id, is still to come."""


def map_paid(event: StripeEvent) -> Mapped:
    """invoice.paid and its twin invoice.payment_succeeded."""
    invoice, paid = event.object, paid_of(event.object)
    if paid is None:
        return event.ignore("the invoice does not say how much was paid", who=who_of(event))
    if integer_of(paid) == 0:
        return event.ignore("nothing was paid with this invoice: a trial, a credit or a coupon", who=who_of(event))
    keys, who = find_keys(invoice), who_of(event)
    if "invoice" not in event.rules.sale_events:
        return event.ignore("invoices are not among the Sale events (STRIPE_SALE_EVENTS)", who=who, keys=keys)
    billing_reason = invoice.get("billing_reason")
    hold: Hold = "none"
    # A session of a single payment may have been counted by its pi_, which since basil invoice_payment.paid alone ties to this.
    if subscription_of(invoice) is None and len(keys) == 1:
        hold = "link"
    elif who.click_id is None and billing_reason in NAMED_LATER:
        hold = "click"
    elif who.click_id is None and who.customer_id is None and event.rules.looks_up_persons:
        hold = "person"
    minor, currency, tax = invoice_money(invoice)
    return make_sale(
        event,
        minor=minor,
        currency=currency,
        keys=keys,
        who=who,
        reason="a paid invoice",
        event_name="subscription_created" if billing_reason == "subscription_create" else "order_paid",
        tax=tax,
        lines=invoice.get("lines"),
        discounts=(invoice.get("discount"), *objects_of(invoice.get("discounts"))),
        occurred_at=moment_of(object_of(invoice.get("status_transitions")).get("paid_at")),
        hold=hold,
        completes_details=subscription_of(invoice) is not None,
    )


def map_payment_link(event: StripeEvent) -> Mapped:
    """invoice_payment.paid: since basil the one documented link between a payment intent and its invoice.
    https://docs.stripe.com/api/invoice-payment/object"""
    payment = object_of(event.object.get("payment"))
    keys = gather_keys(
        invoice=id_of(event.object.get("invoice")),
        intent=id_of(payment.get("payment_intent")),
        charge=id_of(payment.get("charge")),
    )
    return event.ignore("it says which payment belongs to which invoice: the invoice is the Sale", keys=keys)


def subscription_of(invoice: JsonObject) -> str | None:
    """The id of the invoice's subscription, wherever its rendering holds it."""
    parent = object_of(object_of(invoice.get("parent")).get("subscription_details"))
    subscription = id_of(parent.get("subscription")) or id_of(invoice.get("subscription"))
    if subscription:
        return subscription
    for line in objects_of(invoice.get("lines")):
        details = object_of(line.get("parent"))
        item = object_of(details.get("subscription_item_details")) or object_of(details.get("invoice_item_details"))
        subscription = id_of(item.get("subscription")) or id_of(line.get("subscription"))
        if subscription:
            return subscription
    return None


def find_keys(invoice: JsonObject) -> tuple[str, ...]:
    """All ids of the purchase that an invoice names: its own alone since basil, unless its payments are included."""
    intent = invoice.get("payment_intent")
    charge = id_of(invoice.get("charge")) or id_of(object_of(intent).get("latest_charge"))
    named = gather_keys(invoice=id_of(invoice), intent=id_of(intent), charge=charge)
    for part in objects_of(invoice.get("payments")):  # several, where it was paid in parts
        payment = object_of(part.get("payment"))
        if part.get("status") == "paid":
            named += gather_keys(intent=id_of(payment.get("payment_intent")), charge=id_of(payment.get("charge")))
    keys = tuple(dict.fromkeys(named))
    subscription = subscription_of(invoice)
    if invoice.get("billing_reason") == "subscription_create" and subscription and keys:
        return (*keys, first_key(subscription))
    return keys


def who_of(event: StripeEvent) -> Who:
    """The customer as the invoice tells it, with the metadata that Stripe copied from the subscription."""
    invoice = event.object
    intent, charge = invoice.get("payment_intent"), invoice.get("charge")
    customer = invoice.get("customer")
    details = object_of(object_of(invoice.get("parent")).get("subscription_details"))
    subscriptions = (details, invoice.get("subscription_details"))
    lines = objects_of(invoice.get("lines"))
    expanded = (details.get("subscription"), invoice.get("subscription"), customer)
    return name_person(
        event,
        places=metadata_of(intent, charge, invoice, *subscriptions, *lines, *expanded),
        customer=customer or invoice.get("customer_account"),
        subscription=subscription_of(invoice),
        emails=(invoice.get("customer_email"),),
        names=(invoice.get("customer_name"),),
        phones=(invoice.get("customer_phone"),),
        purchase=(id_of(invoice),),
    )
