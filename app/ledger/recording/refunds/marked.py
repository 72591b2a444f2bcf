"""Keeps what an event says of money that went back, for the settlement of its Sale."""

from collections.abc import Sequence

from app.ledger.recording.arrival import Arrival
from app.ledger.recording.keys import Keys
from app.ledger.recording.known.snapshot import Snapshot
from app.money import LARGEST_MINOR
from app.text import storable


def add_mark(snapshot: Snapshot, event_id: int, arrival: Arrival, names: Keys, foreign: Sequence[str]) -> None:
    """Records the refund or dispute of an event under every key that it names, other than those that only look like its own
    (`foreign`). Its Sale may be known, arrive later, or never arrive. The event of a Sale itself may say that less went back than
    was recorded before: it is a mark only where there is another. A bare number may turn out to be that of another
    purchase's order or invoice, so it is named only where a purchase owns it already.
    """
    mapped = arrival.mapped
    mark = mapped.mark
    if mark is None or abs(mark.money.minor) > LARGEST_MINOR:  # which is not an amount that any payment had
        return
    keys = names.own
    if mapped.sale is not None:
        keys = keys[: len(mapped.keys)]  # those of the source, without those of its gateway
        if snapshot.marked.isdisjoint(keys):
            return
    moment = int((mark.at or arrival.received_at).timestamp() * 1000)
    for key in keys:
        if key in foreign or (key in names.bare_numbers and not snapshot.owners([key], ())):
            continue
        row = (
            storable(mark.reference),
            key,
            mark.kind,
            storable(mark.status),
            mark.money.minor,
            mark.money.currency,
            moment,
            event_id,
        )
        snapshot.marks.append(row)
        snapshot.marked.add(key)
