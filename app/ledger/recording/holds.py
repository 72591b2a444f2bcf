"""How long the first attempt of a conversion is held, and which event releases it."""

from app.ledger.recording.arrival import Conversion, Policy
from app.ledger.recording.known.snapshot import Snapshot
from app.model import Hold


def hold_of(requested: Hold, known: Conversion | None) -> Hold:
    """The hold of a conversion: `requested`, or a shorter one if other events of its purchase (`known`) arrived first."""
    if known is None:
        return requested
    if requested == "link":
        return "click"
    if requested == "click" and known.state == "pending":  # its session has arrived and has nothing to add
        return "none"
    if requested == "details" and (known.facts.get("complete") or known.hold == "purchase"):
        return "none"
    return requested


def due_at(conversion: Conversion, policy: Policy, now: int) -> int:
    """When it is due (ms): now, or after the hold if the event it waits for may still arrive."""
    if conversion.hold == "purchase":
        return now + int(policy.purchase_hold_seconds * 1000)
    lacks_person = conversion.hold in ("person", "details") and not conversion.is_named
    lacks_click = conversion.hold == "click" and not conversion.has_click
    if conversion.hold == "link" or lacks_person or lacks_click:
        return now + int(policy.person_hold_seconds * 1000)
    return now


def free(snapshot: Snapshot, conversion: Conversion, *, is_linked: bool, completes: bool) -> bool:
    """Releases a held conversion if it waited for this event.

    is_linked: the event says which payment belongs to it. completes: no other event can add to its person.
    """
    if conversion.hold == "link" and is_linked:
        conversion.hold = "click"  # its session, which carries the click id, may still come
        goes = conversion.has_click
    elif conversion.hold == "details" and completes:
        conversion.hold, goes = "none", True
    else:
        return False
    conversion.is_changed = not conversion.is_new
    if goes and conversion.is_new:
        conversion.deliver_at = snapshot.now
    elif goes:
        snapshot.claimed.append(conversion)
    return goes
