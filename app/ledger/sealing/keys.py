"""The keys that the ledger's data is sealed with, so that no process runs that cannot read it."""

from app.errors import ConfigurationError
from app.ledger.engine import Ledger
from app.ledger.migrations.online import raise_floor
from app.ledger.schema import current_revision, record_revision
from app.ledger.sealing.cipher import ADD_KEY
from app.ledger.transaction import Tx

USED = "sealed:"
"""Rows of `counters` begin so; what follows names a key that was written with."""
OLDEST_REVISION = "0019"
"""Code before it would take what is sealed for what it is to send."""


def used_keys(tx: Tx) -> set[str]:
    rows = tx.run("SELECT name FROM counters WHERE name LIKE ?", f"{USED}%").scalars()
    return {str(name).removeprefix(USED) for name in rows}


def missing_keys(ledger: Ledger) -> set[str]:
    """Keys that the ledger's data needs and this process does not have. Raises LedgerUnavailable."""
    with ledger.read() as tx:
        used = used_keys(tx)
    return used - set(ledger.cipher.key_ids if ledger.cipher else ())


def check_keys(ledger: Ledger) -> None:
    """Raises ConfigurationError if this process lacks a key, and records the key that it writes with.

    Raises LedgerUnavailable.
    """
    missing = missing_keys(ledger)
    if missing:
        named = ", ".join(sorted(missing))
        remedy = ADD_KEY if ledger.cipher else "set ENCRYPTION_KEY to it"
        raise ConfigurationError(f"the ledger holds data that is encrypted with the key {named}: {remedy}")
    if ledger.cipher is None:
        return
    current = ledger.cipher.current
    with ledger.read() as tx:
        if current in used_keys(tx):
            return

    revision = current_revision(ledger)

    def work(tx: Tx) -> None:
        raise_floor(tx.connection, OLDEST_REVISION)
        if revision is not None:
            record_revision(tx.connection, revision)  # so that version 0.1.0 does not start either
        tx.run(
            "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", USED + current, tx.now()
        )

    ledger.transact(work)


def forget_keys(tx: Tx, kept: set[str]) -> None:
    """Removes all keys but `kept` from the record, once nothing is sealed with the others."""
    for name in used_keys(tx) - kept:
        tx.run("DELETE FROM counters WHERE name = ?", USED + name)
