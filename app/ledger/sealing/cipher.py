"""AES-256-GCM for values of single columns.

A sealed value begins with a mark and the ID of its key, so that plain values and values of several keys can coexist while keys
are rotated. Used only if ENCRYPTION_KEY is set.

The nonce of a value is random, or, in columns that statements compare (How.EQUAL), the keyed hash of the value: HMAC-SHA256 under
a key derived from the one that encrypts. Somebody who has only the ledger can tell that two such values are equal, and no more.
"""

import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.inserts import Row, Rows
from app.ledger.sealing.columns import SEALED, How, personal_changed

PLAIN = frozenset({"", "{}", b"", '{"forgotten":true,"customerExternalId":""}', b'{"forgotten":true}'})
"""What stands instead of something that was removed. Statements compare with these."""
MARK, MARK_BYTES = "\x01sealed1:", b"\x01sealed1:"
NONCE_BYTES, KEY_ID_CHARACTERS = 12, 8
LONGEST_EQUAL = 1900
"""Bytes of a value that is indexed: sealed, it stays below the 2,704 bytes that PostgreSQL takes. Of a longer one the rest is only
in its keyed hash."""
IN_JSON = "\\u0001sealed1:"
"""How MARK looks within JSON."""
_IN_JSON = re.compile(r'"\\u0001sealed1:([0-9a-f]{8}):([A-Za-z0-9+/]+=*)"')
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
        self._index_keys = {key_id(key): hmac.digest(key, b"conversion-bridge index", "sha256") for key in keys}
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

    def seal_equal(self, value: Any, named: str | None = None) -> Any:
        """A text, sealed so that the same text always gives the same; named: with that key instead of the current one."""
        if value is None or value in PLAIN:
            return value
        key, content = named or self.current, value.encode("utf-8", "surrogatepass")
        nonce = hmac.digest(self._index_keys[key], content, "sha256")[:NONCE_BYTES]
        kept = content[:LONGEST_EQUAL].decode("utf-8", "ignore").encode() if len(content) > LONGEST_EQUAL else content
        return f"{MARK}{key}:{base64.b64encode(nonce + self._keys[key].encrypt(nonce, kept, None)).decode()}"

    def seal_facts(self, text: Any) -> Any:
        """The facts of a conversion, with what is personal in them sealed."""
        return text if text is None or text in PLAIN else personal_changed(text, self.seal)

    def unseal_facts(self, text: str) -> str:
        """The opposite. Raises LedgerUnavailable if something cannot be read."""
        return personal_changed(text, self.unseal) if IN_JSON in text else text

    def forms(self, value: str) -> list[str]:
        """How a column of How.EQUAL may hold a text: in the clear, or sealed with any of the keys."""
        return [value, *(self.seal_equal(value, named) for named in self.key_ids)]

    def unseal(self, value: Any) -> Any:
        """The value that was sealed. Plain values are returned unchanged. Raises LedgerUnavailable if decryption fails."""
        if isinstance(value, str):
            if not value.startswith(MARK):
                return self._unseal_json(value) if IN_JSON in value else value
            named, _, content = value[len(MARK) :].partition(":")
            return self._open(named, base64.b64decode(content)).decode("utf-8", "surrogatepass")
        if isinstance(value, bytes | memoryview) and bytes(value[: len(MARK_BYTES)]) == MARK_BYTES:
            rest = bytes(value[len(MARK_BYTES) :])
            return self._open(rest[:KEY_ID_CHARACTERS].decode("ascii", "replace"), rest[KEY_ID_CHARACTERS + 1 :])
        return value

    def _unseal_json(self, text: str) -> str:
        """JSON with what is sealed in it replaced. What looks sealed and is not stays: others write into JSON as well."""

        def opened(match: re.Match[str]) -> str:
            try:
                return json.dumps(self._open(match[1], base64.b64decode(match[2])).decode("utf-8", "surrogatepass"))
            except (LedgerUnavailable, ValueError):
                return match[0]

        return _IN_JSON.sub(opened, text)

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
        if columns is None or columns.keys().isdisjoint(batch.columns):
            return batch
        return Rows(batch.table, [self._seal_row(row, columns) for row in batch.rows], batch.unless_there)

    def _seal_row(self, row: Row, columns: Mapping[str, How]) -> Row:
        return {name: self.sealed(columns.get(name), value) for name, value in row.items()}

    def sealed(self, how: How | None, value: Any) -> Any:
        """A value as its column is sealed; as it is where how is None."""
        if how is How.WHOLE:
            return self.seal(value)
        if how is How.EQUAL:
            return self.seal_equal(value)
        return self.seal_facts(value) if how is How.FACTS else value

    def seal_values(self, statement: str, values: Sequence[Any]) -> Sequence[Any]:
        """The values of an UPDATE, sealed. Values of any other statement are returned unchanged."""
        positions = sealed_positions(statement)
        if not positions:
            return values
        return tuple(self.sealed(positions.get(number), value) for number, value in enumerate(values))


ADD_KEY = "add it to ENCRYPTION_KEY, behind a comma"


def key_id(key: bytes) -> str:
    """The ID of a key, which reveals nothing about the key."""
    return hashlib.sha256(b"conversion-bridge key\0" + key).hexdigest()[:KEY_ID_CHARACTERS]


@lru_cache(maxsize=2048)
def sealed_positions(statement: str) -> Mapping[int, How]:
    """The positions of the values that an UPDATE assigns to columns of SEALED, and how each of these is sealed."""
    match = _SET.fullmatch(statement)
    columns = SEALED.get(match[1].lower()) if match else None
    if match is None or columns is None:
        return {}
    positions, number = dict[int, How](), 0
    for part in _PART.finditer(match[2]):
        if part[0].startswith("'"):
            continue
        if part[1] in columns:
            positions[number] = columns[part[1]]
        number += 1
    return positions
