"""Checkout sessions (also of Payment Links, Pricing Tables and Buy Buttons).

https://docs.stripe.com/api/checkout/sessions/object, https://docs.stripe.com/payments/checkout/fulfill-orders
"""

from app.model import Lead, Mapped, Who
from app.money import Money, currency_code
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, first_key, id_of, integer_of, object_of, objects_of, word_of
from app.sources.stripe.payments import charge_of
from app.sources.stripe.persons import metadata_of, name_person
from app.sources.stripe.purchases import gather_keys, make_sale, session_money


def map_completed(event: StripeEvent) -> Mapped:
    """checkout.session.completed: the buyer went through, which need not mean that money has come."""
    return _map_session(event, is_paid=event.object.get("payment_status") == "paid")


def map_async_succeeded(event: StripeEvent) -> Mapped:
    """checkout.session.async_payment_succeeded: a delayed payment has come."""
    return _map_session(event, is_paid=True)


def map_unpaid(event: StripeEvent) -> Mapped:
    """checkout.session.async_payment_failed and .expired: what was pending is so no longer."""
    failed = event.type.endswith("failed")
    cause = "its delayed payment failed" if failed else "it expired unpaid"
    # A failure may overtake the event that says "unpaid"; what expires was never completed, so nothing waits for it.
    return event.ignore(
        f"a checkout session without money: {cause}",
        who=who_of(event),
        keys=find_keys(event.object),
        links_keys=failed,
        cancels=True,
    )


def _map_session(event: StripeEvent, *, is_paid: bool) -> Mapped:
    session, rules = event.object, event.rules
    who, keys, status = who_of(event), find_keys(session), word_of(session.get("payment_status"))
    if session.get("mode") == "setup":
        return event.ignore("a checkout session in mode setup saves a payment method: no money", who=who)
    if session.get("amount_total") is None:
        return event.ignore(
            "the checkout session tells no amount_total (very old API)", who=who, completes_identity=True
        )
    minor, currency, tax = session_money(session)
    if integer_of(session.get("amount_total")) == 0:
        return _map_free(event, who, keys, is_certain=is_paid or status == "no_payment_required")
    if "checkout" not in rules.sale_events:
        reason = "checkout sessions are not among the Sale events (STRIPE_SALE_EVENTS)"
        return event.ignore(reason, who=who, keys=keys, completes_identity=True)
    if status == "unpaid" and not is_paid:
        reason = f"{_show(minor, currency)} promised and not collected yet: the checkout session is unpaid"
        return event.answer(
            outcome="pending", reason=reason, who=who, keys=keys, completes_identity=True, carries_identity=True
        )
    if status == "no_payment_required" and not is_paid:
        reason = "the checkout session needed no payment now: what is paid later comes with its invoice"
        return event.ignore(reason, who=who, keys=keys, completes_identity=True)
    if not is_paid:
        reason = "it cannot be a Sale: the checkout session does not say whether it was paid (payment_status)"
        return event.answer(outcome="parked", reason=reason, who=who, keys=keys, completes_identity=True)
    if is_subscription(session) and invoice_of(session) is None and "invoice" in rules.sale_events:
        reason = (
            "this checkout session names its subscription alone (API 2020-08): that one's first invoice is the Sale"
        )
        return event.answer(
            outcome="pending", reason=reason, who=who, keys=keys, completes_identity=True, carries_identity=True
        )
    return make_sale(
        event,
        minor=minor,
        currency=currency,
        keys=keys,
        who=who,
        reason="a paid checkout session",
        event_name="subscription_created" if is_subscription(session) else "checkout_completed",
        tax=tax,
        lines=session.get("line_items"),
        discounts=objects_of(session.get("discounts")),
        hold="details" if who.customer_id is None and who.click_id is None else "none",
        completes_identity=True,
    )


def _map_free(event: StripeEvent, who: Who, keys: tuple[str, ...], *, is_certain: bool) -> Mapped:
    """A session of 0. In mode subscription it starts a trial, unless a discount took the whole price: lines on trial cost
    nothing from the start, so the subtotal of a trial is 0 too."""
    session = event.object
    subscription = id_of(session.get("subscription"))
    discount = integer_of(object_of(session.get("total_details")).get("amount_discount")) or 0
    was_priced = discount > 0 or (integer_of(session.get("amount_subtotal")) or 0) > 0
    if subscription and is_subscription(session) and is_certain and not was_priced:
        return event.answer(
            outcome="lead",
            reason="a trial started by a checkout session",
            who=who,
            keys=(subscription,),
            lead=Lead(subscription, "trial_started", metadata={"source": "stripe", "event": event.type}),
            completes_identity=True,
        )
    return event.ignore("the checkout session cost nothing: no money", who=who, keys=keys, completes_identity=True)


def is_subscription(session: JsonObject) -> bool:
    """Old renderings have no mode; only subscriptions name one."""
    mode = session.get("mode")
    return mode == "subscription" or (mode is None and id_of(session.get("subscription")) is not None)


def invoice_of(session: JsonObject) -> str | None:
    """The id of its invoice; up to acacia an expanded payment intent names it too."""
    return id_of(session.get("invoice")) or id_of(object_of(session.get("payment_intent")).get("invoice"))


def find_keys(session: JsonObject) -> tuple[str, ...]:
    """All ids of the purchase that a session names, itself or in what is expanded in it."""
    intent, invoice = session.get("payment_intent"), object_of(session.get("invoice"))
    keys = gather_keys(
        invoice=invoice_of(session),
        intent=id_of(intent) or id_of(invoice.get("payment_intent")),
        session=id_of(session),
        charge=charge_of(object_of(intent)) or id_of(invoice.get("charge")),
    )
    subscription = id_of(session.get("subscription"))
    if subscription and keys and is_subscription(session):
        return (*keys, first_key(subscription))
    return keys


def who_of(event: StripeEvent) -> Who:
    """The buyer: the one event that knows client_reference_id and what Checkout asked."""
    session = event.object
    intent, invoice = session.get("payment_intent"), session.get("invoice")
    subscription, customer = session.get("subscription"), session.get("customer")
    details, collected = object_of(session.get("customer_details")), object_of(session.get("collected_information"))
    lines = objects_of(object_of(invoice).get("lines"))
    return name_person(
        event,
        places=(*metadata_of(session, intent, invoice, *lines, subscription, customer), _asked(session)),
        customer=customer or session.get("customer_account"),
        subscription=id_of(subscription),
        session=id_of(session),
        reference=session.get("client_reference_id"),
        emails=(details.get("email"), session.get("customer_email")),
        names=(
            details.get("name"),
            details.get("individual_name"),
            collected.get("individual_name"),
            details.get("business_name"),
            collected.get("business_name"),
        ),
        phones=(details.get("phone"),),
        purchase=(id_of(intent), invoice_of(session)),
    )


def _asked(session: JsonObject) -> dict[str, object]:
    """Custom fields by their key: {"key": "clickid", "type": "text", "text": {"value": …}}.
    https://docs.stripe.com/payments/checkout/custom-fields"""
    asked: dict[str, object] = {}
    for field in objects_of(session.get("custom_fields")):
        kind, key = word_of(field.get("type")), word_of(field.get("key"))
        if kind and key:
            asked[key] = object_of(field.get(kind)).get("value")
    return asked


def _show(minor: object, currency: object) -> str:
    amount, code = integer_of(minor), currency_code(currency)
    return Money(amount, code).text if amount is not None and code else "money"
