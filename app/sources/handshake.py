"""Proofs of origin other than a signature: a form field of the body that repeats a shared key (Wufoo, Formstack), and the ping that
WooCommerce sends unsigned."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from urllib.parse import unquote_to_bytes, urlencode

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound
from app.sources.bodies import form_pairs, read_body
from app.sources.signatures import HmacScheme, spellings

FORM = "application/x-www-form-urlencoded"
LONGEST_KEY = 1000
WOOCOMMERCE = "x-wc-webhook-signature"
MOST_KEYS = 4


@dataclass(frozen=True, slots=True)
class Handshake:
    """field: where the key stands. hmac: taken instead where the request carries its header (newer Formstack hooks)."""

    field: str = "HandshakeKey"
    hmac: HmacScheme | None = None

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        if self.hmac and self.hmac.header.lower() in inbound.headers:
            self.hmac.verify(inbound, secrets, now)
            return
        candidates = self._keys(inbound, secrets)
        if not candidates:
            raise SignatureError(f"the field {self.field} is missing", reason="missing")
        for key in candidates:
            if any(hmac.compare_digest(key, secret.encode()) for secret in secrets if secret):
                return
        heals = bool(self.secret_spans(inbound))
        raise SignatureError("the handshake key is none of the configured secrets", heals=heals)

    def secret_spans(self, inbound: Inbound) -> list[tuple[int, int]]:
        """Where the keys stand in the body of a form, which is searched and not read; none in a body of another kind."""
        kind, body = inbound.content_type.partition(";")[0].strip().casefold(), inbound.body
        if kind != FORM or body.lstrip()[:1] == b"{":
            return []
        name = re.escape(self.field.encode())
        matches = re.finditer(rb"(?:^|&)\s*" + name + rb"=([^&]{1,%d})" % LONGEST_KEY, body)
        return [match.span(1) for match in islice(matches, MOST_KEYS)]

    def _keys(self, inbound: Inbound, secrets: Sequence[str]) -> list[bytes]:
        """The keys that the body gives. A form is searched and not read; JSON and multipart bodies are read only where they hold
        the bytes of a secret: reading them costs far more than posting them, and anybody can post."""
        body, name = inbound.body, self.field.encode()
        kind = inbound.content_type.partition(";")[0].strip().casefold()
        if kind == FORM and body.lstrip()[:1] != b"{":
            return [form_key(body[start:end]) for start, end in self.secret_spans(inbound)]
        if name not in body:
            return []
        if not any(spelling in body for secret in secrets for spelling in spellings(secret)):
            return [b""]
        try:
            candidate = read_body(inbound).get(self.field)
        except MalformedEvent:
            raise SignatureError("the body cannot be read, so its handshake key cannot be checked") from None
        return [candidate.encode("utf-8", "backslashreplace")] if isinstance(candidate, str) and candidate else []

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


def form_key(raw: bytes) -> bytes:
    """A key as it stands in a form, decoded."""
    return unquote_to_bytes(raw.strip().replace(b"+", b" "))


def woocommerce_ping(inbound: Inbound) -> str | None:
    """WooCommerce posts `webhook_id=12`, unsigned, when a webhook is saved, and shows an error where that is not answered 200:
    https://github.com/woocommerce/woocommerce/issues/15642."""
    is_form = inbound.content_type.partition(";")[0].strip().casefold() == "application/x-www-form-urlencoded"
    if not is_form or WOOCOMMERCE in inbound.headers or not re.fullmatch(rb"webhook_id=[0-9]{1,20}", inbound.body):
        return None
    return "WooCommerce's ping, sent when its webhook is saved"
