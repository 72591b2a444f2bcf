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
UNDONE = ("failed", "failure", "canceled", "cancelled", "voided", "rejected", "reversed", "restored", "requires_action")
"""States of a refund whose money came back, or never went; the sum of a later event leaves it out."""
LOST = ("lost", "accepted", "approved", "succeeded", "success", "refunded")
"""States of a dispute of which the buyer has the money. In all others the seller has it, or nobody knows yet."""
REVERSED = ("reversed",)


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
    event_id: int | None = None
    """Of the event that said so last; None where an older version recorded it."""
    total: int = 0
    """Of a sum: all refunds of the payment, where `minor` is what none of its own accounts for."""
    keys: set[str] = field(default_factory=set)

    @property
    def is_back(self) -> bool:
        """The buyer has the money back, or will get it."""
        return self.status in LOST if self.kind == "dispute" else self.status not in UNDONE

    @property
    def source(self) -> str:
        """The source that reported it: the Sale's own, or the gateway that took the money."""
        return source_of(min(self.keys))

    @property
    def summed(self) -> str | None:
        """The payment whose refunds this adds up; None if it is a single refund or dispute."""
        return self.reference.removesuffix(SUM) if self.reference.endswith(SUM) else None

    def is_part_of(self, total: "Adjustment") -> bool:
        """Whether the amount of `total` has this one in it."""
        if self.kind != total.kind or self.currency != total.currency or self.summed is not None:
            return False
        if self.status in UNDONE and self.at < total.at:
            return False
        return any(key.endswith(f":{total.summed}") for key in self.keys)


def adjustments(tx: Tx, conversion_ids: Sequence[int]) -> list[Adjustment]:
    """Refunds and disputes of these conversions, oldest first."""
    condition, value = tx.among("k.conversion_id", conversion_ids)
    rows = tx.run(
        "SELECT DISTINCT k.conversion_id, n.reference, n.kind, n.status, n.minor, n.currency, n.at, n.event_id,"
        " n.key, m.key FROM dedupe_keys k"
        f" JOIN marks m ON m.key = k.key JOIN marks n ON n.reference = m.reference WHERE {condition}",
        value,
    ).all()
    latest: dict[tuple[int, str], Adjustment] = {}
    keys = defaultdict(set)
    for *fields, key, own in rows:
        mark = Adjustment(*fields)
        if source_of(key) != source_of(own):  # which may give the same ids to refunds of its own
            continue
        place = (mark.conversion_id, mark.reference)
        keys[place].add(key)
        known = latest.get(place)
        if known is None or mark.at > known.at:
            latest[place] = mark
    by_sale: dict[int, list[Adjustment]] = defaultdict(list)
    for place, mark in latest.items():
        by_sale[mark.conversion_id].append(replace(mark, keys=keys[place]))
    shown = [mark for each in by_sale.values() for mark in _without_sums(each)]
    return sorted(shown, key=lambda mark: (mark.at, mark.reference))


def source_of(key: str) -> str:
    """stripe of sale:stripe:in_1."""
    return key.split(":", 2)[1]


def _without_sums(marks: Sequence[Adjustment]) -> list[Adjustment]:
    shown = []
    for mark in marks:
        if mark.summed is None:
            shown.append(mark)
            continue
        left = mark.minor - sum(part.minor for part in marks if part.is_part_of(mark))
        if left > 0:
            shown.append(replace(mark, minor=left, total=mark.minor))
    return shown


def money_back(marks: Sequence[Adjustment]) -> list[Adjustment]:
    """The refunds and disputes of one Sale whose money the buyer has. A reversal that is reported as a separate dispute cancels the
    one of the same amount."""
    back = [mark for mark in marks if mark.is_back]
    for reversal in (mark for mark in marks if mark.kind == "dispute" and mark.status in REVERSED):
        undone = next((mark for mark in back if mark.kind == "dispute" and mark.minor == reversal.minor), None)
        if undone is not None and undone.at <= reversal.at:
            back.remove(undone)
    return back


def of_one_source(back: Sequence[Adjustment]) -> list[Adjustment]:
    """The marks of the source that reports the most money back: a shop and its gateway report the same refunds."""
    by_source: dict[str, list[Adjustment]] = {}
    for mark in back:
        by_source.setdefault(mark.source, []).append(mark)
    return max(by_source.values(), key=lambda marks: sum(mark.minor for mark in marks), default=[])
