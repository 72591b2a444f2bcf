"""The random number that the ids of this ledger's traces are made with, so that no two bridges share a trace."""

import secrets

from app.ledger.engine import Ledger
from app.ledger.transaction import Tx

NAME = "trace seed"


def trace_seed(ledger: Ledger) -> int:
    """Drawn once for each ledger. Raises LedgerUnavailable."""

    def work(tx: Tx) -> int:
        drawn = secrets.randbelow(2**62) + 1
        tx.run("INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", NAME, drawn)
        return int(tx.run("SELECT value FROM counters WHERE name = ?", NAME).scalar_one())

    return ledger.transact(work)
