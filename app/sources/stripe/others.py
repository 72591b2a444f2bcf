"""Events that are not conversions and mark none: they are kept, found by what they name, and remembered for their purchase.

With `payment_intent_data.metadata` the click id and the customer id stand on the intent and its charge alone, so every
payment_intent.* and charge.* event may be the one that says whose purchase it is.
https://docs.stripe.com/api/events/types
"""

from app.model import Mapped, Who
from app.sources.stripe import checkout, customers, invoices, payments
from app.sources.stripe.event import StripeEvent, is_worth_remembering
from app.sources.stripe.fields import FIRST, JsonObject, id_of, object_of
from app.sources.stripe.persons import metadata_of, name_person
from app.sources.stripe.purchases import gather_keys


def map_other(event: StripeEvent, reason: str) -> Mapped:
    """Ignored, with everything that it says of a person and a purchase."""
    who, keys = read_who(event), find_keys(event.object)
    names = bool(who.click_id or who.customer_id or who.clicks) and event.type.startswith(
        ("payment_intent.", "charge.")
    )
    return event.ignore(
        reason,
        who=who,
        keys=tuple(key for key in keys if not key.endswith(FIRST)),
        links_keys=False,
        carries_identity=names and is_worth_remembering(who),
        mentions=mentioned(event),
    )


def mentioned(event: StripeEvent) -> tuple[str, ...]:
    """The id of the object itself, where that is not one of a purchase's."""
    identity = id_of(event.object)
    return (identity,) if identity and identity not in find_keys(event.object) else ()


def read_who(event: StripeEvent) -> Who:
    """What the object of any event says of its person."""
    match event.object.get("object"):
        case "checkout.session":
            return checkout.who_of(event)
        case "invoice":
            return invoices.who_of(event)
        case "payment_intent":
            return payments.who_of_intent(event)
        case "charge":
            return payments.who_of_charge(event)
        case "subscription":
            return customers.who_of_subscription(event)
        case _:
            return _who_of_anything(event)


def _who_of_anything(event: StripeEvent) -> Who:
    """Customers, payment methods, refunds, disputes (whose evidence names the buyer), quotes, credit notes and what comes."""
    thing = event.object
    is_customer = thing.get("object") == "customer"
    customer = thing if is_customer else thing.get("customer")
    evidence, charge = object_of(thing.get("evidence")), object_of(thing.get("charge"))
    places = [object_of(holder) for holder in (thing, charge, thing.get("payment_intent"))]
    billing = [object_of(place.get("billing_details")) for place in places]
    return name_person(
        event,
        places=metadata_of(*places, customer),
        customer=customer or thing.get("customer_account"),
        emails=(
            *(thing.get(name) for name in ("email", "customer_email", "receipt_email")),
            evidence.get("customer_email_address"),
            *(details.get("email") for details in billing),
            charge.get("receipt_email"),
        ),
        names=(
            *((thing.get("name"),) if is_customer else ()),
            thing.get("customer_name"),
            evidence.get("customer_name"),
            *(details.get("name") for details in billing),
        ),
        phones=(*((thing.get("phone"),) if is_customer else ()), *(details.get("phone") for details in billing)),
    )


def find_keys(thing: JsonObject) -> tuple[str, ...]:
    """The ids of the purchase that any object names."""
    match thing.get("object"):
        case "checkout.session":
            return checkout.find_keys(thing)
        case "invoice":
            return invoices.find_keys(thing)
        case "payment_intent":
            return gather_keys(
                invoice=id_of(thing.get("invoice")), intent=id_of(thing), charge=payments.charge_of(thing)
            )
    charge, intent = object_of(thing.get("charge")), object_of(thing.get("payment_intent"))
    return gather_keys(
        invoice=id_of(thing.get("invoice")) or id_of(charge.get("invoice")) or id_of(intent.get("invoice")),
        intent=id_of(thing.get("payment_intent")) or id_of(charge.get("payment_intent")),
        charge=id_of(thing)
        if thing.get("object") == "charge"
        else id_of(thing.get("charge")) or id_of(intent.get("latest_charge")),
    )
