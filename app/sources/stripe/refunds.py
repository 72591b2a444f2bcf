"""Refunds and disputes: they count against their Sale.

https://docs.stripe.com/api/refunds/object, https://docs.stripe.com/api/disputes/object
"""

from typing import Literal

from app.model import Adjustment, Mapped
from app.money import Money, currency_code
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, id_of, integer_of, objects_of, word_of
from app.sources.stripe.others import find_keys, map_other, mentioned, read_who
from app.sources.stripe.purchases import gather_keys


def map_charge_refunded(event: StripeEvent) -> Mapped:
    """charge.refunded tells all refunds of a charge in one sum; each event replaces what the last one said."""
    charge = event.object
    identifier, refunded = id_of(charge), _refunded(charge)
    keys = gather_keys(
        invoice=id_of(charge.get("invoice")), intent=id_of(charge.get("payment_intent")), charge=identifier
    )
    if refunded == 0 and charge.get("amount_refunded"):
        return map_other(event, "what was authorized and not captured was released: no money went back")
    status = "refunded" if charge.get("refunded") is True else "partially_refunded"
    reference = f"{identifier}:refunded" if identifier else None
    return _mark(event, "refund", reference, refunded, status, keys)


def _refunded(charge: JsonObject) -> object:
    """What was given back of the money that was collected. Stripe books the part of an authorization that was not captured as a
    refund as well, and it stands in amount_refunded."""
    refunded = charge.get("amount_refunded")
    if refunded is None:  # only the oldest renderings
        refunded = sum(integer_of(refund.get("amount")) or 0 for refund in objects_of(charge.get("refunds")))
    back = integer_of(refunded)
    authorized, captured = integer_of(charge.get("amount")), integer_of(charge.get("amount_captured"))
    if back is None or authorized is None or captured is None:
        return refunded
    released = max(0, authorized - captured)
    return back - released if back >= released else back


def map_refund(event: StripeEvent) -> Mapped:
    """refund.created, .updated, .failed, and charge.refund.updated as it was called before."""
    refund = event.object
    return _mark(event, "refund", id_of(refund), refund.get("amount"), refund.get("status"), find_keys(refund))


def map_dispute(event: StripeEvent) -> Mapped:
    """charge.dispute.*: each carries the dispute as it now stands. Disputes of 2013 have no id of their own."""
    dispute = event.object
    charge = id_of(dispute.get("charge"))
    reference = id_of(dispute) or (f"{charge}:disputed" if charge else None)
    return _mark(event, "dispute", reference, dispute.get("amount"), dispute.get("status"), find_keys(dispute))


def _mark(
    event: StripeEvent,
    kind: Literal["refund", "dispute"],
    reference: str | None,
    minor: object,
    status: object,
    keys: tuple[str, ...],
) -> Mapped:
    amount, currency = integer_of(minor), currency_code(event.object.get("currency"))
    if reference is None or not keys or currency is None or amount is None or amount <= 0:
        return map_other(event, f"a {kind} that does not say what it is of, or how much")
    mark = Adjustment(kind, reference, Money(amount, currency), word_of(status) or "unknown", event.created)
    return event.ignore(
        f"a {kind} counts against its Sale",
        who=read_who(event),
        keys=keys,
        mark=mark,
        carries_identity=False,
        mentions=mentioned(event),
    )
