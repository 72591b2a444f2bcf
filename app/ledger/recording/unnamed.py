"""Conversions whose person is unknown. They are parked, and counted as soon as another event of the purchase or booking
identifies the person.

Events arrive in any order: a charge with the buyer's address may come after the payment that counts.
"""

from typing import Any

from app.ledger.recording.arrival import Conversion
from app.ledger.recording.known.snapshot import Snapshot

UNNAMED = "unnamed"


def keep(conversion: Conversion, event_id: int, **fields: Any) -> None:
    """Stores with an uncounted conversion how the parked event `event_id` would be counted: kind, hold, dedupe_key, occurred_at
    and facts."""
    kept = {"event_id": event_id, **fields}
    if conversion.facts.get(UNNAMED) != kept:
        conversion.facts[UNNAMED] = kept
        conversion.is_changed = not conversion.is_new


def hand_over(first: Conversion, other: Conversion) -> bool:
    """Moves this from `other`, joined into `first`, which is not counted either. Returns whether anything was new."""
    if UNNAMED not in other.facts or UNNAMED in first.facts:
        return False
    first.facts[UNNAMED] = other.facts[UNNAMED]
    return True


def is_unnamed(conversion: Conversion) -> bool:
    return conversion.state != "counted" and UNNAMED in conversion.facts


def is_dismissed(snapshot: Snapshot, conversion: Conversion) -> bool:
    """Whether an operator closed its parked event. One of the same group is not in the ledger yet, and so is not."""
    statement = "SELECT 1 FROM dismissals WHERE event_id = ?"
    return snapshot.tx.run(statement, conversion.facts[UNNAMED]["event_id"]).first() is not None


def kind_of(conversion: Conversion) -> str:
    """What the parked event wanted to count: a sale or a lead."""
    return str(conversion.facts[UNNAMED]["kind"])


def take(snapshot: Snapshot, conversion: Conversion) -> None:
    """Turns `conversion` into what its parked event describes. The caller decides when it is sent."""
    kept = conversion.facts[UNNAMED]
    others = [event_id for event_id in conversion.facts.get("parked", ()) if event_id != kept["event_id"]]
    for name in ("event_id", "kind", "hold", "dedupe_key", "occurred_at"):
        setattr(conversion, name, kept[name])
    conversion.facts = kept["facts"]
    conversion.state, conversion.is_changed = "counted", not conversion.is_new
    snapshot.count(kept["event_id"], conversion)
    for event_id in others:
        snapshot.settle(event_id, conversion)
