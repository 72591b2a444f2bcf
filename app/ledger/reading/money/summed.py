"""What a confirmation is about: how many deliveries of each kind and destination, the newest few, and the money."""

from collections.abc import Iterable
from typing import Any

from app.ledger.reading import deliveries
from app.ledger.reading.filters import Filter
from app.ledger.reading.money.stake import Stake
from app.ledger.transaction import Tx

FIRST = 5


def summed(tx: Tx, criteria: Filter, sources: Iterable[str]) -> tuple[dict[str, Any], Stake]:
    """({kinds, destinations: counts by name; first: rows}, the money)."""
    names = list(sources)
    first = deliveries.failed(tx, criteria, names, limit=FIRST).rows
    return {**deliveries.breakdown(tx, criteria, names), "first": first}, deliveries.at_stake(tx, criteria, names)
