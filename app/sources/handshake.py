"""The handshake key: a form field of the body that repeats a shared key (Wufoo, Formstack)."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound
from app.sources.bodies import form_pairs, read_body
from app.sources.signatures import HmacScheme


@dataclass(frozen=True, slots=True)
class Handshake:
    """field: where the key stands. hmac: taken instead where the request carries its header (newer Formstack hooks)."""

    field: str = "HandshakeKey"
    hmac: HmacScheme | None = None

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        if self.hmac and self.hmac.header.lower() in inbound.headers:
            self.hmac.verify(inbound, secrets, now)
            return
        try:
            given = read_body(inbound).get(self.field)
        except MalformedEvent:
            raise SignatureError("the body cannot be read, so its handshake key cannot be checked") from None
        if not isinstance(given, str) or not given:
            raise SignatureError(f"the field {self.field} is missing", reason="missing")
        key = given.encode("utf-8", "backslashreplace")
        if not any(hmac.compare_digest(key, secret.encode()) for secret in secrets):
            raise SignatureError("the handshake key is none of the configured secrets")

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        """The key travels in the body, see `stamp`: there are headers only where there is a signature."""
        return self.hmac.sign(body, secret, now, url=url) if self.hmac else {}

    def stamp(self, body: bytes, secret: str) -> bytes:
        """A form-encoded `body` with the key in its field, as the provider would send it; another body as it is."""
        try:
            pairs = [(name, value) for name, value in form_pairs(body) if name != self.field]
        except MalformedEvent:
            return body
        return urlencode([*pairs, (self.field, secret)]).encode()
