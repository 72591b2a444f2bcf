"""AES-256-GCM for values of single columns.

A sealed value begins with a mark and the ID of its key, so that plain values and values of several keys can coexist while keys
are rotated. Used only if ENCRYPTION_KEY is set.
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.inserts import Row, Rows

SEALED: Mapping[str, frozenset[str]] = {
    "events": frozenset({"body", "headers"}),
    "deliveries": frozenset({"payload"}),
    "attempts": frozenset({"answer_headers", "answer_body"}),
    "quarantine": frozenset({"body", "headers"}),
}
"""The columns whose values are sealed, by table."""
PLAIN = frozenset({"", "{}", b"", '{"forgotten":true,"customerExternalId":""}', b'{"forgotten":true}'})
"""What stands instead of something that was removed. Statements compare with these."""
MARK, MARK_BYTES = "\x01sealed1:", b"\x01sealed1:"
NONCE_BYTES, KEY_ID_CHARACTERS = 12, 8
_SET = re.compile(r"\s*UPDATE (\w+) SET (.*?)(?: WHERE .*)?", re.DOTALL | re.IGNORECASE)
_PART = re.compile(r"'(?:[^']|'')*'|(\w+) = \?|\?")


class Cipher:
    """Seals with the first of `keys` (32 bytes each), unseals with any. Raises ConfigurationError without the library."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigurationError("ENCRYPTION_KEY needs the extra: install conversion-bridge[encryption]") from None
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        self.current = key_id(keys[0])
        self.key_ids = tuple(self._keys)
        self._mark = f"{MARK}{self.current}:"
        self._mark_bytes = self._mark.encode()

    @property
    def marks(self) -> tuple[str, bytes]:
        """The prefixes of values sealed with the current key: of texts, and of bytes."""
        return self._mark, self._mark_bytes

    def is_current(self, value: str | bytes) -> bool:
        """Whether a value is sealed with the current key."""
        return value.startswith(self._mark) if isinstance(value, str) else value.startswith(self._mark_bytes)

    def seal(self, value: Any) -> Any:
        """A text or bytes, sealed. Any other value, and those of PLAIN, are returned unchanged."""
        if value is None or value in PLAIN:
            return value
        nonce = os.urandom(NONCE_BYTES)
        if isinstance(value, str):
            sealed = nonce + self._keys[self.current].encrypt(nonce, value.encode("utf-8", "surrogatepass"), None)
            return self._mark + base64.b64encode(sealed).decode()
        return self._mark_bytes + nonce + self._keys[self.current].encrypt(nonce, bytes(value), None)

    def unseal(self, value: Any) -> Any:
        """The value that was sealed. Plain values are returned unchanged. Raises LedgerUnavailable if decryption fails."""
        if isinstance(value, str):
            if not value.startswith(MARK):
                return value
            named, _, content = value[len(MARK) :].partition(":")
            return self._open(named, base64.b64decode(content)).decode("utf-8", "surrogatepass")
        if isinstance(value, bytes | memoryview) and bytes(value[: len(MARK_BYTES)]) == MARK_BYTES:
            rest = bytes(value[len(MARK_BYTES) :])
            return self._open(rest[:KEY_ID_CHARACTERS].decode("ascii", "replace"), rest[KEY_ID_CHARACTERS + 1 :])
        return value

    def _open(self, named: str, content: bytes) -> bytes:
        key = self._keys.get(named)
        if key is None:
            raise LedgerUnavailable(f"the ledger holds data that is encrypted with the key {named}: {ADD_KEY}")
        try:
            return bytes(key.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], None))
        except Exception as error:  # InvalidTag, which only the library's package can name
            raise LedgerUnavailable(
                f"the ledger holds data that the key {named} cannot decrypt: it is damaged", reason="damaged"
            ) from error

    def unseal_row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self.unseal(value) if isinstance(value, str | bytes) else value for value in row)

    def seal_rows(self, batch: Rows) -> Rows:
        """The rows of one batch, sealed for their INSERT."""
        columns = SEALED.get(batch.table.name)
        if columns is None or columns.isdisjoint(batch.columns):
            return batch
        return Rows(batch.table, [self._seal_row(row, columns) for row in batch.rows], batch.unless_there)

    def _seal_row(self, row: Row, columns: frozenset[str]) -> Row:
        return {name: self.seal(value) if name in columns else value for name, value in row.items()}

    def seal_values(self, statement: str, values: Sequence[Any]) -> Sequence[Any]:
        """The values of an UPDATE, sealed. Values of any other statement are returned unchanged."""
        positions = sealed_positions(statement)
        if not positions:
            return values
        return tuple(self.seal(value) if number in positions else value for number, value in enumerate(values))


ADD_KEY = "add it to ENCRYPTION_KEY, behind a comma"


def key_id(key: bytes) -> str:
    """The ID of a key, which reveals nothing about the key."""
    return hashlib.sha256(b"conversion-bridge key\0" + key).hexdigest()[:KEY_ID_CHARACTERS]


@lru_cache(maxsize=2048)
def sealed_positions(statement: str) -> frozenset[int]:
    """The positions of the values that an UPDATE assigns to columns of SEALED."""
    match = _SET.fullmatch(statement)
    columns = SEALED.get(match[1].lower()) if match else None
    if match is None or columns is None:
        return frozenset()
    positions, number = set(), 0
    for part in _PART.finditer(match[2]):
        if part[0].startswith("'"):
            continue
        if part[1] in columns:
            positions.add(number)
        number += 1
    return frozenset(positions)
