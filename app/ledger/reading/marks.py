"""Refunds and disputes of conversions: each once, although a provider may report it in several ways.

Stripe reports a refund as charge.refunded, which has the sum of all refunds of that charge, and as refund.*, which has the refund
itself. The sum is shown only for what no refund of its own accounts for.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.ledger.transaction import Tx

SUM = ":refunded"
"""How the reference of a sum ends; before it stands the id of the payment that it is about."""
UNDONE = ("failed", "canceled", "cancelled")
"""States of a refund whose money came back; the sum of a later event leaves it out."""


@dataclass(slots=True)
class Adjustment:
    """A refund or dispute of one conversion, as its latest event says. `keys` are the ids that it names."""

    conversion_id: int
    reference: str
    kind: str
    status: str
    minor: int
    currency: str
    at: int
    keys: set[str] = field(default_factory=set)

    @property
    def summed(self) -> str | None:
        """The payment of which this is the sum of all refunds; None where it is one refund or dispute."""
        return self.reference.removesuffix(SUM) if self.reference.endswith(SUM) else None

    def is_part_of(self, total: "Adjustment") -> bool:
        """Whether the amount of `total` has this one in it."""
        if self.kind != total.kind or self.currency != total.currency or self.summed is not None:
            return False
        if self.status in UNDONE and self.at < total.at:
            return False
        return any(key.endswith(f":{total.summed}") for key in self.keys)


def adjustments(tx: Tx, conversion_ids: Sequence[int]) -> list[Adjustment]:
    """Those of these conversions, oldest first."""
    condition, value = tx.among("k.conversion_id", conversion_ids)
    rows = tx.run(
        "SELECT DISTINCT k.conversion_id, n.reference, n.kind, n.status, n.minor, n.currency, n.at, n.key FROM dedupe_keys k"
        f" JOIN marks m ON m.key = k.key JOIN marks n ON n.reference = m.reference WHERE {condition}",
        value,
    ).all()
    latest: dict[tuple[int, str], Adjustment] = {}
    keys = defaultdict(set)
    for conversion_id, reference, kind, status, minor, currency, at, key in rows:
        keys[conversion_id, reference].add(key)
        known = latest.get((conversion_id, reference))
        if known is None or at > known.at:
            latest[conversion_id, reference] = Adjustment(conversion_id, reference, kind, status, minor, currency, at)
    found: dict[int, list[Adjustment]] = defaultdict(list)
    for place, one in latest.items():
        found[one.conversion_id].append(replace(one, keys=keys[place]))
    shown = [one for each in found.values() for one in _without_sums(each)]
    return sorted(shown, key=lambda one: (one.at, one.reference))


def _without_sums(found: Sequence[Adjustment]) -> list[Adjustment]:
    shown = []
    for one in found:
        if one.summed is None:
            shown.append(one)
            continue
        left = one.minor - sum(part.minor for part in found if part.is_part_of(one))
        if left > 0:
            shown.append(replace(one, minor=left))
    return shown
