"""A thread that counts past hours for charts, in one worker at a time, chosen through the ledger."""

import time

from app.ledger.cursors import round_is_due, take_round
from app.ledger.engine import Ledger
from app.ledger.traffic.hours import count_next
from workers.occasional import Occasional

ROUND = "counted_at"
ROUND_MS = 60_000
SHARE = 0.2
"""The share of time it may read. A ledger of a million deliveries from before this table takes some minutes once."""


class Counting(Occasional):
    """Counts what is due every minute."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__("counting", ROUND_MS / 1000)
        self._ledger = ledger

    def look(self) -> int:
        """Counts all hours that are due, unless another worker did within a minute; returns how many. Raises LedgerUnavailable."""
        counted = 0
        while not self._stopping.is_set() and self._is_ours(0 if counted else ROUND_MS):
            began = time.monotonic()
            hours = count_next(self._ledger)
            if not hours:
                break
            counted += hours
            self._stopping.wait((time.monotonic() - began) * (1 / SHARE - 1))
        return counted

    def _is_ours(self, every_ms: int) -> bool:
        """Whether no other worker counts; it then keeps off until ROUND_MS after our last hours."""
        with self._ledger.read() as tx:
            now = tx.now()
            is_due = round_is_due(tx, ROUND, now, every_ms)
        return is_due and self._ledger.transact(lambda tx: take_round(tx, ROUND, now, every_ms))
