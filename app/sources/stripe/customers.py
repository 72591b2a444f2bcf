"""Customers and subscriptions: they bring no money, but sign-ups, trials and the names of people.

https://docs.stripe.com/api/customers/object, https://docs.stripe.com/api/subscriptions/object
"""

from app.model import Lead, Mapped, Who
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import id_of, word_of
from app.sources.stripe.persons import metadata_of, name_person


def map_customer(event: StripeEvent) -> Mapped:
    """customer.created and customer.updated: a sign-up where the merchant noted the click that led to it."""
    customer = event.object
    identifier = id_of(customer)
    who = name_person(event, places=metadata_of(customer), customer=customer)
    if who.click_id is None or identifier is None:
        return event.ignore("the customer's metadata names no click id: no Lead", who=who)
    return event.answer(
        outcome="lead",
        reason="a sign-up with a click id",
        who=who,
        keys=(identifier,),
        lead=Lead(identifier, "signed_up", metadata={"source": "stripe", "event": event.type}),
    )


def map_subscription_created(event: StripeEvent) -> Mapped:
    """customer.subscription.created: a trial start, or nothing, since what is paid comes with an invoice."""
    identifier, status = id_of(event.object), word_of(event.object.get("status"))
    who = who_of_subscription(event)
    if status != "trialing" or identifier is None:
        return event.ignore("a subscription that is not on trial: the money comes with invoice.paid", who=who)
    return event.answer(
        outcome="lead",
        reason="a trial started",
        who=who,
        keys=(identifier,),
        lead=Lead(identifier, "trial_started", metadata={"source": "stripe", "event": event.type}),
        hold="click" if who.click_id is None else "none",
    )


def map_subscription_updated(event: StripeEvent) -> Mapped:
    """customer.subscription.updated, from trialing to active too."""
    who = who_of_subscription(event)
    return event.ignore("a changed subscription is not a conversion: the money comes with invoice.paid", who=who)


def who_of_subscription(event: StripeEvent) -> Who:
    """No e-mail address unless the customer is expanded: it is known from what was seen before."""
    subscription = event.object
    customer = subscription.get("customer")
    return name_person(
        event,
        places=metadata_of(subscription, customer),
        customer=customer or subscription.get("customer_account"),
        subscription=id_of(subscription),
    )
