"""A thread that applies [retention] once a day, in one worker, chosen through the ledger."""

import time

import structlog

from app.config.bridge_toml import RetentionTable
from app.config.settings import Settings
from app.ledger.actions.retention import DAY_MS, Pace, prune
from app.ledger.cursors import return_round, round_is_due, take_round
from app.ledger.engine import Ledger
from app.ledger.upkeep.space import release_space
from workers.occasional import Occasional

ROUND = "pruned_at"
CHECK_SECONDS = 30.0
SHARE = 0.1
"""The share of time it may hold the ledger's lock. Nobody waits for it to finish."""
SPACE_SECONDS = 1800.0
"""How long it returns space. The rest waits for the next day."""

log = structlog.get_logger(__name__)


class Pruning(Occasional):
    """Applies `retention` when due."""

    def __init__(self, ledger: Ledger, retention: RetentionTable) -> None:
        super().__init__("pruning", CHECK_SECONDS)
        self._ledger = ledger
        self._retention = retention

    def look(self) -> bool:
        """Prunes if no worker did within a day. Returns whether it did. Raises LedgerUnavailable."""
        ledger = self._ledger
        with ledger.read() as tx:
            now = tx.now()
            is_due = round_is_due(tx, ROUND, now, DAY_MS)
        if not is_due or not ledger.transact(lambda tx: take_round(tx, ROUND, now, DAY_MS)):
            return False
        began, is_whole, pace = time.monotonic(), False, Pace(SHARE, self._stopping.is_set)
        try:
            done = {pruned.what: pruned.count for pruned in prune(ledger, self._retention, pace=pace) if pruned.count}
            released = release_space(ledger, pace, seconds=SPACE_SECONDS)
            is_whole = not self._stopping.is_set()
        finally:
            if not is_whole:
                ledger.transact(lambda tx: return_round(tx, ROUND, now))
        seconds = round(time.monotonic() - began, 1)
        log.info("retention.applied", **_fields(done), freed_bytes=released.freed_bytes, seconds=seconds)
        for note in released.notes:
            log.warning("retention.space", problem=note)
        return True


def _fields(done: dict[str, int]) -> dict[str, int]:
    return {name.replace(" ", "_"): count for name, count in done.items()}


def make_pruning(settings: Settings, ledger: Ledger) -> Pruning | None:
    """None if everything is kept forever. The caller starts it. Raises ConfigurationError."""
    retention = settings.retention
    return Pruning(ledger, retention) if any(days is not None for _, days in retention) else None
