"""What a merchant's client_reference_ids turn out to be: customers, or the orders of a shop."""

from collections import defaultdict
from collections.abc import Sequence

from app.errors import MalformedEvent
from app.model import Rules
from app.sources.parse import email_of
from app.sources.stripe.event import read_event
from app.sources.stripe.fields import JsonObject, id_of, object_of
from app.sources.stripe.persons import split_reference

FEWEST = 10
"""References that were each seen once say something from so many on: few customers have bought twice yet."""


def notice_order_numbers(bodies: Sequence[bytes], rules: Rules) -> str | None:
    """A hint where references are taken for customers and each was seen once. `bodies` are of checkout.session.completed."""
    if not rules.reference_names_customer:
        return None
    references, buyers = [], defaultdict(set)
    for session in {
        id_of(body_session): body_session for body_session in (_session(body, rules) for body in bodies)
    }.values():
        _, reference = split_reference(session.get("client_reference_id"), rules)
        if reference is None:
            continue
        references.append(reference)
        details = object_of(session.get("customer_details"))
        buyer = id_of(session.get("customer")) or email_of(details.get("email") or session.get("customer_email"))
        buyers[buyer or reference].add(reference)
    if len(set(references)) < len(references):
        return None
    returned = sum(len(known) > 1 for known in buyers.values())
    if not returned and len(references) < FEWEST:
        return None
    again = f", also where one buyer came again ({returned} did)" if returned else ""
    return (
        f"Each of the newest {len(references)} client_reference_ids was seen once{again}. If they are order or cart numbers, set"
        " STRIPE_REFERENCE=ignore: as it is, each order becomes a customer of its own."
    )


def _session(body: bytes, rules: Rules) -> JsonObject:
    try:
        return read_event(body, rules).object
    except MalformedEvent:
        return {}
