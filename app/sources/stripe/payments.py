"""Payment intents and charges: mostly twins of a session or an invoice, a Sale where nothing else tells of the money.

https://docs.stripe.com/api/payment_intents/object, https://docs.stripe.com/api/charges/object
Manual capture: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
"""

import re

from app.model import Mapped, Who
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, id_of, integer_of, object_of, objects_of
from app.sources.stripe.persons import email_in_metadata, metadata_of, name_person
from app.sources.stripe.purchases import gather_keys, make_sale

INVOICE_PREFIX = re.compile(r"in_[A-Za-z0-9]{14,}")
"""An invoice id cut after 25 characters. A shorter one is a merchant's own text, and would match many."""


def map_intent_succeeded(event: StripeEvent) -> Mapped:
    """payment_intent.succeeded. Whether a session owns it cannot be known from the body: hence the hold."""
    intent, rules = event.object, event.rules
    who, invoice, prefixes = who_of_intent(event), id_of(intent.get("invoice")), find_prefixes(intent)
    keys = gather_keys(invoice=invoice, intent=id_of(intent), charge=charge_of(intent))
    received = intent.get("amount_received")
    if received is None or integer_of(received) == 0:
        return event.ignore("no money was received with this payment intent (amount_received)", who=who, keys=keys)
    if (invoice or prefixes) and "invoice" in rules.sale_events:
        reason = "the payment intent belongs to an invoice, which is the Sale"
        return event.ignore(reason, who=who, keys=keys, key_prefixes=prefixes, completes_details=True)
    is_manual, is_wanted = is_captured_by_hand(intent), "payment_intent" in rules.sale_events
    if not is_wanted and (invoice or prefixes or not is_manual):
        reason = (
            "a payment intent is counted by its session or invoice; to count it by itself add it to STRIPE_SALE_EVENTS"
        )
        return event.ignore(reason, who=who, keys=keys, key_prefixes=prefixes, completes_details=True)
    return make_sale(
        event,
        minor=received,
        currency=intent.get("currency"),
        keys=keys,
        who=who_of_intent(event, purchase=(id_of(intent),)),
        reason="a payment captured by hand" if is_manual else "a paid payment intent",
        event_name="payment_captured" if is_manual else "order_paid",
        hold="purchase",
        key_prefixes=prefixes,
        completes_details=True,
    )


def map_charge_paid(event: StripeEvent) -> Mapped:
    """charge.succeeded and charge.captured: a Sale for merchants on bare charges who opted in, else a twin."""
    charge = event.object
    who, invoice, intent = who_of_charge(event), id_of(charge.get("invoice")), id_of(charge.get("payment_intent"))
    keys = gather_keys(invoice=invoice, intent=intent, charge=id_of(charge))
    if invoice or intent:
        return event.ignore(
            "the charge belongs to a payment intent or an invoice, and is counted there", who=who, keys=keys
        )
    if "charge" not in event.rules.sale_events:
        return event.ignore("charges are not among the Sale events (STRIPE_SALE_EVENTS)", who=who, keys=keys)
    if charge.get("captured") is not True:
        return event.ignore("the charge is authorised and not captured: no money yet", who=who, keys=keys)
    captured = charge.get("amount_captured")
    return make_sale(
        event,
        minor=charge.get("amount") if captured is None else captured,
        currency=charge.get("currency"),
        keys=keys,
        who=who,
        reason="a captured charge",
        event_name="payment_captured" if event.type == "charge.captured" else "order_paid",
        hold="purchase",
    )


def find_prefixes(intent: JsonObject) -> tuple[str, ...]:
    """Seen in payment intents of invoices since basil: order_reference is the invoice's id, cut short."""
    reference = object_of(intent.get("payment_details")).get("order_reference")
    if isinstance(reference, str) and len(reference) <= 64 and INVOICE_PREFIX.fullmatch(reference):
        return (reference,)
    return ()


def is_captured_by_hand(intent: JsonObject) -> bool:
    """For all payment methods, or for the one that was used."""
    if intent.get("capture_method") == "manual":
        return True
    used = object_of(_charge(intent).get("payment_method_details")).get("type")
    types = intent.get("payment_method_types")
    if used is None and isinstance(types, list) and len(types) == 1:
        used = types[0]
    options = object_of(intent.get("payment_method_options"))
    return isinstance(used, str) and object_of(options.get(used)).get("capture_method") == "manual"


def charge_of(intent: JsonObject) -> str | None:
    """The id of the charge that paid: latest_charge, before API 2022-11-15 in `charges`."""
    return id_of(intent.get("latest_charge")) or id_of(_charge(intent))


def _charge(intent: JsonObject) -> JsonObject:
    """The charge that paid, where the body holds it as an object."""
    latest = intent.get("latest_charge")
    if isinstance(latest, dict):
        return latest
    charges = objects_of(intent.get("charges"))
    return next(
        (charge for charge in charges if charge.get("status") in ("succeeded", "paid")), charges[0] if charges else {}
    )


def who_of_intent(event: StripeEvent, *, purchase: tuple[str | None, ...] = ()) -> Who:
    """receipt_email, else what the payment form asked, else the metadata. purchase: its ids, where the intent is the Sale."""
    intent, charge = event.object, _charge(event.object)
    billing = object_of(charge.get("billing_details"))
    customer = intent.get("customer")
    return name_person(
        event,
        places=metadata_of(intent, charge, intent.get("invoice"), customer),
        customer=customer or intent.get("customer_account"),
        emails=(
            intent.get("receipt_email"),
            billing.get("email"),
            charge.get("receipt_email"),
            email_in_metadata(intent),
        ),
        names=(billing.get("name"),),
        phones=(billing.get("phone"),),
        purchase=purchase,
    )


def who_of_charge(event: StripeEvent) -> Who:
    """receipt_email, else billing_details, which came with API 2018-11; before it the card held the name."""
    charge = event.object
    billing, card = object_of(charge.get("billing_details")), object_of(charge.get("source"))
    customer = charge.get("customer")
    return name_person(
        event,
        places=metadata_of(charge.get("payment_intent"), charge, charge.get("invoice"), customer),
        customer=customer,
        emails=(charge.get("receipt_email"), billing.get("email"), email_in_metadata(charge)),
        names=(billing.get("name"), card.get("name")),
        phones=(billing.get("phone"),),
    )
