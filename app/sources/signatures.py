"""One HMAC verifier, configured per source; what each provider signs is in its own file.

Every failure is a SignatureError: odd input (not ASCII, not base64, a timestamp of 400 digits) must never reach a handler
as ValueError or TypeError, since anybody can send it.
"""

import base64
import binascii
import hashlib
import hmac
import html
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import quote, quote_plus

from app.errors import ConfigurationError, SignatureError
from app.model import Inbound
from app.sources.base import Vector

SecretEncoding = Literal["text", "whsec", "either", "html"]
LONGEST_HEADER = 4096
NO_PUBLIC_URL = "PUBLIC_URL is not set, and this source signs the URL that it calls"
VERSION_1 = re.compile(r"(?:^|[\s,])v1,([^\s,]+)")
"""One signature of a Standard Webhooks list. Between them is a space, at Supabase a comma and a space while secrets rotate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacScheme:
    """How one provider signs.

    template: what is signed, of {body}, {t} (the timestamp as it was sent), {id}, {method}, {url}.
    pairs: the header is "t=…,v1=…": names of its time and signature fields; several signature fields are alternatives, and
    `separator` is between them; white space beside it is written, and not asked for.
    versions: the header is a list of "v1,<signature>" (Standard Webhooks); unknown versions are skipped.
    timestamp_header, id_header: where {t} and {id} come from when not from pairs.
    tolerance_seconds: how far the timestamp may lie from now, in either direction; only where the scheme carries one.
    secret_encoding: "text" (the key is the secret's UTF-8), "whsec" (base64 after an optional whsec_), "either" of these, or "html"
    (the UTF-8 of the secret once its HTML entities are undone).
    """

    header: str
    encoding: Literal["hex", "base64"] = "hex"
    digest: Literal["sha256", "sha1"] = "sha256"
    template: str = "{body}"
    prefix: str = ""
    pairs: tuple[str, str] | None = None
    separator: str = ","
    versions: bool = False
    timestamp_header: str | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    id_header: str | None = None
    tolerance_seconds: int = 300
    secret_encoding: SecretEncoding = "text"  # noqa: S105 (the name of an encoding)

    @property
    def signs_url(self) -> bool:
        return "{url}" in self.template

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        """Returns if one of `secrets` made the signature. Raises SignatureError otherwise."""
        header = header_of(inbound.headers, self.header)
        if self.pairs:
            timestamp, candidates = _read_pairs(header, *self.pairs, self.separator)
        elif self.versions:
            timestamp, candidates = None, VERSION_1.findall(header)
        else:
            if not header.startswith(self.prefix):
                raise SignatureError(f"the signature does not begin with {self.prefix}", heals=False)
            timestamp, candidates = None, [header[len(self.prefix) :].strip()]
        if not candidates:
            raise SignatureError("the header holds no signature of a version we know", heals=False)
        if self.timestamp_header:
            timestamp = header_of(inbound.headers, self.timestamp_header)
        if timestamp is not None:
            self._check_age(timestamp, now)
        message_id = header_of(inbound.headers, self.id_header) if self.id_header else ""
        if "{url}" in self.template and not inbound.url:
            raise SignatureError(NO_PUBLIC_URL)
        content = self._content(inbound.body, timestamp or "", message_id, inbound.url)
        for secret in secrets:
            try:
                keys = keys_of(secret, self.secret_encoding)
            except ConfigurationError:
                continue  # said at start; another secret may be right
            for key in keys:
                expected = self._signature(key, content).encode()
                for candidate in candidates:
                    text = candidate.lower() if self.encoding == "hex" else candidate
                    if hmac.compare_digest(expected, text.encode("utf-8", "backslashreplace")):
                        return
        raise SignatureError("the signature is not of this body and any configured secret")

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        """The headers that carry a right signature of `body`, made at `now`. The same body has the same message id, as when a
        provider sends it again."""
        seconds = now.timestamp()
        timestamp = str(int(seconds * 1000) if self.timestamp_unit == "ms" else int(seconds))
        message_id = f"msg_{hashlib.sha256(body).hexdigest()[:32]}" if self.id_header else ""
        key = keys_of(secret, self.secret_encoding)[0]
        signature = self._signature(key, self._content(body, timestamp, message_id, url))
        headers = {}
        if self.pairs:
            headers[self.header] = f"{self.pairs[0]}={timestamp}{self.separator}{self.pairs[1]}={signature}"
        else:
            headers[self.header] = f"v1,{signature}" if self.versions else self.prefix + signature
        if self.timestamp_header:
            headers[self.timestamp_header] = timestamp
        if self.id_header:
            headers[self.id_header] = message_id
        return headers

    def _check_age(self, timestamp: str, now: datetime) -> None:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
            raise SignatureError("the signature's timestamp is not a number", heals=False)
        sent = int(timestamp) / (1000 if self.timestamp_unit == "ms" else 1)
        age = now.timestamp() - sent
        if age > self.tolerance_seconds:
            raise SignatureError(
                f"the signature is too old: {int(age)} s, allowed are {self.tolerance_seconds}",
                reason="too old",
                skew_seconds=int(age),
            )
        if age < -self.tolerance_seconds:
            raise SignatureError(
                f"the signature is {int(-age)} s in the future: check this machine's clock",
                reason="in the future",
                skew_seconds=int(age),
            )

    def _content(self, body: bytes, timestamp: str, message_id: str, url: str) -> bytes:
        if self.template == "{body}":
            return body
        before, _, after = self.template.partition("{body}")
        fill = {"t": timestamp, "id": message_id, "url": url, "method": "POST"}
        try:
            return before.format(**fill).encode() + body + after.format(**fill).encode()
        except UnicodeEncodeError:
            raise SignatureError("a signed header is not text", heals=False) from None

    def _signature(self, key: bytes, content: bytes) -> str:
        mac = hmac.digest(key, content, self.digest)
        return mac.hex() if self.encoding == "hex" else base64.b64encode(mac).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSecret:
    """A header that repeats the secret: as it is, after "Bearer ", or (Basic) as base64 of user:password."""

    header: str = "Authorization"
    form: Literal["whole", "bearer", "basic"] = "whole"
    signs_body: ClassVar[bool] = False

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        presented = header_of(inbound.headers, self.header).encode("utf-8", "backslashreplace")
        if not any(hmac.compare_digest(presented, self._value(secret).encode()) for secret in secrets if secret):
            raise SignatureError(f"the header {self.header} holds none of the configured secrets")

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return {self.header: self._value(secret)}

    def _value(self, secret: str) -> str:
        if self.form == "basic":
            return f"Basic {base64.b64encode(secret.encode()).decode()}"
        return f"Bearer {secret}" if self.form == "bearer" else secret.strip()


def keys_of(secret: str, encoding: SecretEncoding = "text") -> list[bytes]:
    """The HMAC keys that `secret` may stand for, the likeliest first. Raises ConfigurationError if there is none."""
    if encoding == "html":
        return [key_of(html.unescape(secret))]
    if encoding != "either":
        return [key_of(secret, encoding)]
    keys = [key_of(secret)]
    if secret.startswith("whsec_"):
        with suppress(ConfigurationError):
            keys.insert(0, key_of(secret, "whsec"))
    return keys


def key_of(secret: str, encoding: Literal["text", "whsec"] = "text") -> bytes:
    """The HMAC key that `secret` stands for. Raises ConfigurationError if it is empty or no base64: checked at start."""
    if encoding == "text":
        key = secret.encode()
    else:
        text = secret.removeprefix("v1,").removeprefix("whsec_")
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigurationError("a signing secret of this source must be whsec_ and base64") from None
    if not key:
        raise ConfigurationError("a signing secret is empty")
    return key


def standard_webhooks(prefix: str = "webhook", key: SecretEncoding = "whsec") -> HmacScheme:
    """https://www.standardwebhooks.com: prefix "webhook", or "svix" for those who send through Svix."""
    return HmacScheme(
        header=f"{prefix}-signature",
        encoding="base64",
        template="{id}.{t}.{body}",
        versions=True,
        timestamp_header=f"{prefix}-timestamp",
        id_header=f"{prefix}-id",
        secret_encoding=key,
    )


def published_vector(prefix: str) -> Vector:
    """The request that the authors of Standard Webhooks, and Svix before them, test their own libraries with."""
    return Vector(
        body=b'{"test": 2432232314}',
        headers={
            f"{prefix}-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            f"{prefix}-timestamp": "1614265330",
            f"{prefix}-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # noqa: S106 (of the vector)
        origin="published: standard-webhooks/standard-webhooks and svix/svix-webhooks, tests of their libraries",
        at=1614265330,
    )


def header_of(headers: Mapping[str, str], name: str) -> str:
    """The value of a header that must be there, at a sensible length. Raises SignatureError."""
    value = headers.get(name.lower(), "").strip()
    if not value:
        raise SignatureError(f"the header {name} is missing", reason="missing")
    if len(value) > LONGEST_HEADER:
        raise SignatureError(f"the header {name} is too long to be a signature", heals=False)
    return value


def spellings(secret: str) -> tuple[bytes, ...]:
    """`secret` as it may be in a body: as it is, in a form (a handshake key), in JSON."""
    if not secret:
        return ()
    in_json = json.dumps(secret)[1:-1]
    texts = (secret, quote_plus(secret), quote(secret, safe=""), in_json, in_json.replace("/", "\\/"))
    return tuple(dict.fromkeys(text.encode("utf-8", "backslashreplace") for text in texts))


def _read_pairs(header: str, time_name: str, signature_name: str, separator: str) -> tuple[str, list[str]]:
    timestamp, signatures = "", []
    for part in header.split(separator.strip()):
        name, _, value = part.strip().partition("=")
        if name == time_name:
            timestamp = value.strip()
        elif name == signature_name:
            signatures.append(value.strip())
    if not timestamp:
        raise SignatureError("the signature header carries no timestamp", heals=False)
    return timestamp, signatures
