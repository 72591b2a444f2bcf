"""Checks that stored data can be decrypted, using the newest and the oldest rows."""

from typing import Literal

from app.ledger.engine import Ledger
from app.ledger.sealing.cipher import PLAIN, Cipher

SAMPLES = (("events", "body"), ("deliveries", "payload"), ("persons", "customer_id"))


def check_decrypts(raw: Ledger, cipher: Cipher) -> tuple[Literal["ok", "warn"], str]:
    """For doctor: raw is the ledger without a cipher. Raises LedgerUnavailable if something cannot be decrypted."""
    stale = False
    with raw.read() as tx:
        for table, column in SAMPLES:
            for order in ("DESC", "ASC"):
                rows = tx.run(f"SELECT {column} FROM {table} ORDER BY id {order} LIMIT 20").scalars().all()
                values = (bytes(stored) if isinstance(stored, memoryview) else stored for stored in rows)
                for value in (stored for stored in values if stored is not None):
                    cipher.unseal(value)
                    stale = stale or not (cipher.is_current(value) or value in PLAIN)
    if stale:
        text = f"encryption: new data is encrypted with the key {cipher.current}; older data is not: run `bridge db rotate-key`"
        return "warn", text
    return "ok", f"encryption: bodies, payloads and people are encrypted with the key {cipher.current}, and decrypt"
