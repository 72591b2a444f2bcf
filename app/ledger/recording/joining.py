"""Finds the conversion an event is about, and joins conversions that turn out to be one purchase."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.ledger.recording.arrival import Conversion
from app.ledger.recording.keys import Keys
from app.ledger.recording.known.event_facts import keep_who, kept_who
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.unnamed import hand_over
from app.model import Mapped

COUNTED_TWICE = "counted_twice"


@dataclass(slots=True)
class Joined:
    """The conversion of a purchase, the ones joined into it, and notes about the join."""

    first: Conversion
    known: list[Conversion]
    withdrawn: list[Conversion] = field(default_factory=list)
    sent_twice: list[str] = field(default_factory=list)
    """One sentence for each duplicate that was also sent to the same destination."""


def known_conversions(
    snapshot: Snapshot, keys: Sequence[str], loose: Sequence[str], prefixes: Sequence[str]
) -> list[Conversion]:
    """The conversions that own one of the keys."""
    if not loose:
        return snapshot.owners(keys, prefixes)
    known = snapshot.owners([key for key in keys if key not in loose], prefixes)
    for conversion in snapshot.owners(loose, ()):
        if conversion not in known and not conversion.contradicts(keys[0]):
            known.append(conversion)
    return known


def of_one_purchase(
    snapshot: Snapshot, owners: Sequence[Conversion], mapped: Mapped, names: Keys
) -> tuple[Sequence[Conversion], Sequence[str]]:
    """`owners` without the Sales that only share a number with the one that an event is about (see Conversion.is_another), and the
    keys that those own. The one it is about is its `sale`, or what is counted under the first of its keys."""
    return _without(snapshot, owners, _others(snapshot, owners, mapped, names) if owners else [], names.own)


def of_one_sale(
    snapshot: Snapshot, known: Sequence[Conversion], keys: Sequence[str]
) -> tuple[Sequence[Conversion], Sequence[str]]:
    """`known` with the first of its counted Sales alone, and the keys that the other ones own: that money went back does not say
    that two Sales are one purchase. A refund may name the order of a subscription beside the payment of a renewal."""
    return _without(snapshot, known, [conversion for conversion in known if conversion.state == "counted"][1:], keys)


def _without(
    snapshot: Snapshot, known: Sequence[Conversion], others: Sequence[Conversion], keys: Sequence[str]
) -> tuple[Sequence[Conversion], Sequence[str]]:
    """`known` without `others`, and those of `keys` that the others own."""
    if not others:
        return known, ()
    foreign = [key for key in keys if any(owner in others for owner in snapshot.owners([key], ()))]
    return [conversion for conversion in known if conversion not in others], foreign


def _others(snapshot: Snapshot, owners: Sequence[Conversion], mapped: Mapped, names: Keys) -> list[Conversion]:
    if mapped.numbers:
        certain = snapshot.owners([key for key in names.known_by if key not in names.bare_numbers], names.prefixes)
        numbers = dict(mapped.numbers)
        about = numbers.get("invoice"), numbers.get("order")
        return [
            owner
            for owner in owners
            if owner not in certain and (owner.is_another(*about) or _is_numbered(snapshot, owner, names))
        ]
    if mapped.sale is not None:
        about = mapped.sale.invoice_id, mapped.sale.order_id
    else:
        named = next((o for o in owners if o.dedupe_key in names.own[:1]), None) if len(owners) > 1 else None
        facts = (named.facts.get("sale") if named is not None else None) or {}
        about = facts.get("invoice_id"), facts.get("order_id")
    return [owner for owner in owners if owner.is_another(*about)]


def _is_numbered(snapshot: Snapshot, owner: Conversion, names: Keys) -> bool:
    """Whether it owns keys that name their series, so that only these tell which purchase it is."""
    sale = owner.facts.get("sale") or {}
    keys = names.numbered_as((("invoice", sale.get("invoice_id")), ("order", sale.get("order_id"))))
    return any(snapshot.is_taken(key) and owner in snapshot.owners([key], ()) for key in keys)


def join(snapshot: Snapshot, known: Sequence[Conversion], keys: Sequence[str]) -> Joined | None:
    """Joins `known`, which one event names together, into one conversion; None if it is empty.

    Of several counted ones, the one that was attempted stays, and unsent duplicates are withdrawn. If several were attempted,
    only their waiting deliveries are withdrawn.
    """
    if len(known) < 2:
        return Joined(known[0], list(known)) if known else None
    counted = [conversion for conversion in known if conversion.state == "counted"]
    sent_to = {c.id: snapshot.sent_to(c) for c in counted} if len(counted) > 1 else {}
    unsent = {identity for identity, destinations in sent_to.items() if destinations == frozenset()}

    def rank(conversion: Conversion) -> tuple[object, ...]:
        position = keys.index(conversion.dedupe_key) if conversion.dedupe_key in keys else len(keys)
        is_waiting = conversion.hold == "purchase"
        states = (conversion.state != "counted", conversion.state != "pending")
        return (*states, conversion.id in unsent, is_waiting, not conversion.is_named, position, conversion.id)

    first, *others = sorted(known, key=rank)
    joined = Joined(first, [first, *others])
    for other in others:
        if other.state != "counted":
            _combine_facts(first, other)
            if first.state == "counted":
                for event_id in other.facts.get("parked", ()):
                    snapshot.settle(event_id, first)
            snapshot.absorb(first, other)
        elif other.id in unsent:
            _combine_facts(first, other)
            snapshot.withdraw(first, other)
            joined.withdrawn.append(other)
        else:
            snapshot.sent_twice.append((other, first))
            destinations_of_first, destinations_of_other = sent_to[first.id], sent_to[other.id]
            if (
                destinations_of_first is None
                or destinations_of_other is None
                or destinations_of_first & destinations_of_other
            ):
                reason = f"{other.dedupe_key} and {first.dedupe_key} are one purchase and were both counted"
                joined.sent_twice.append(reason)
    return joined


def _combine_facts(first: Conversion, other: Conversion) -> None:
    """Combines what two uncounted conversions know. A counted one's person learns it separately (see recording)."""
    if first.state == "counted":
        return
    news = keep_who(first.facts, kept_who(other.facts))
    news = hand_over(first, other) or news
    parked = [*first.facts.get("parked", ()), *other.facts.get("parked", ())]
    if parked and parked != first.facts.get("parked"):
        first.facts["parked"], news = parked, True
    if other.facts.get("complete") and not first.facts.get("complete"):
        first.facts["complete"] = news = True
    if first.person is None and other.person is not None:
        first.person, news = other.person, True
    first.is_changed = first.is_changed or (news and not first.is_new)
