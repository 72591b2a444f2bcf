"""Makes a refused request fit to be kept, and whole again when it is verified once more.

A request is kept only where another secret here would have made it authentic. Its credentials never are: where the provider proves
itself by sending the secret, only a keyed digest of what it sent is kept, and the configured secret that has the same digest is
put back. The token of a URL is not kept in any form.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote_plus

from app.errors import SignatureError, SourceError
from app.intake.verify_and_map import SECRET_HEADERS, Configured, masked_spellings
from app.ledger.inbound.quarantine import Content, Held, Refused
from app.model import Inbound
from app.sources.base import Source
from app.sources.handshake import Handshake, form_key
from app.sources.signatures import LONGEST_HEADER
from app.text import storable

LARGEST_HEADERS = 16 * 1024
TOKEN = "{token}"  # noqa: S105 - a placeholder
CREDENTIALS = frozenset({"authorization", "x-api-key"})
_PRIVATE = re.compile(r"authorization|cookie|token|secret|passw|api-?key|credential|session")
"""Names of headers that may hold a credential. One that a signature needs is kept all the same."""
_BODY = "body"
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived. client: the network it came from. at: when, by the clock that judged its signature."""

    inbound: Inbound
    token: str | None
    client: str
    at: datetime


class Sealer:
    """Takes credentials out of refused requests, and puts the configured ones back in.

    key: what the digests of credentials are made with (SECRET_KEY). base_url: PUBLIC_URL, for sources that sign their URL.
    """

    def __init__(self, configured: Mapping[str, Configured], key: str | None, base_url: str | None) -> None:
        self._configured = configured
        self._key = hmac.digest(key.encode(), b"quarantine", "sha256") if key else None
        self._base_url = base_url or ""
        self._proofs: dict[str, tuple[str, ...]] = {}

    def seal(self, error: SourceError, request: Request) -> Refused | None:
        """What may be kept of a request that was refused with `error`; None if it must not be, or would be of no use."""
        if not isinstance(error, SignatureError) or not error.heals or request.at.timestamp() <= 0:
            return None
        source, secrets, tokens = self._configured.get(error.source or "", (None, (), ()))
        if source is None or not source.signed or not secrets:
            return None
        inbound = request.inbound
        headers, sealed = self._headers(source, secrets, tokens, request)
        body, in_body = self._body(source, inbound)
        hidden = [spelling for secret in (*secrets, *tokens) for spelling in masked_spellings(secret)]
        if any(spelling in body for spelling in hidden) or len(json.dumps(headers)) > LARGEST_HEADERS:
            return None
        if (sealed or in_body) and self._key is None:
            return None
        path = inbound.url[inbound.url.find("/webhooks/") :] if source.signs_url and inbound.url else None
        if path and request.token:
            path = path.replace(request.token, TOKEN)
        body_digest = hashlib.sha256(body).hexdigest()
        signed = json.dumps([sorted(headers.items()), sorted((sealed | in_body).items())])
        return Refused(
            source=source.name,
            received_at=int(request.at.timestamp() * 1000),
            client=request.client,
            reason=storable(str(error)),
            digest=hashlib.sha256(f"{body_digest}{signed}".encode()).hexdigest(),
            body_digest=body_digest,
            headers=headers,
            body=body,
            sealed=sealed | in_body,
            with_token=bool(request.token),
            path=path and storable(path),
        )

    def _headers(
        self, source: Source, secrets: Iterable[str], tokens: Iterable[str], request: Request
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The headers to keep, and the digests of those that are credentials."""
        needed = set(signature_headers(source, secrets))
        is_secret_sent = not getattr(getattr(source, "signature", None), "signs_body", True)
        hidden = [credential for credential in (*secrets, *tokens, request.token or "") if credential]
        kept, sealed = {}, {}
        for name, value in request.inbound.headers.items():
            if name in CREDENTIALS or (is_secret_sent and name in needed):
                sealed[name] = self._digest(value.strip().encode("utf-8", "backslashreplace"))
            elif len(value) <= LONGEST_HEADER and (name in needed or not _is_private(name)):
                for credential in hidden:
                    value = value.replace(credential, "***")
                kept[name] = value
        return kept, sealed

    def _body(self, source: Source, inbound: Inbound) -> tuple[bytes, dict[str, str]]:
        """The body with marks instead of the keys that it proves itself with, and their digests."""
        scheme = getattr(source, "signature", None)
        body, sealed = inbound.body, {}
        for index, (start, end) in reversed(list(enumerate(_spans(scheme, inbound)))):
            sealed[f"{_BODY}{index}"] = self._digest(form_key(body[start:end]))
            body = body[:start] + _mark(index) + body[end:]
        return body, sealed

    def proofs(self, source: str) -> tuple[str, ...]:
        """Names of the headers that prove where a request comes from; () where the URL or the body does."""
        if source not in self._proofs:
            known, secrets, _ = self._configured.get(source, (None, (), ()))
            names = known.sign(b"", secrets[0], _EPOCH) if known and known.signed and secrets else ()
            self._proofs[source] = tuple(names)
        return self._proofs[source]

    def knows(self, source: str) -> bool:
        """Whether the source is configured, with a secret to verify against."""
        return source in self._configured and bool(self._configured[source][1])

    def reopen(self, held: Held, content: Content) -> tuple[Inbound, str | None]:
        """The request as it arrived, including the configured secrets that it was sent with, and the URL's token."""
        source, secrets, tokens = self._configured[held.source]
        headers, body = dict(content.headers), content.body
        received_at = datetime.fromtimestamp(held.received_at / 1000, UTC)
        for secret in secrets if content.sealed else ():
            for name, value in source.sign(b"", secret, received_at).items():
                if self._is_sealed(content, name.lower(), value.strip().encode()):
                    headers[name.lower()] = value
            for name in content.sealed:
                if name.startswith(_BODY) and self._is_sealed(content, name, secret.encode()):
                    body = body.replace(_mark(int(name[len(_BODY) :])), quote_plus(secret).encode())
        token = tokens[0] if held.with_token and tokens else None
        return Inbound(body, headers, self._url(held, content, token)), token

    def _url(self, held: Held, content: Content, token: str | None) -> str:
        path = content.path or f"/webhooks/{held.source}{f'/{TOKEN}' if token else ''}"
        return self._base_url + path.replace(TOKEN, token or "") if self._base_url else ""

    def _digest(self, credential: bytes) -> str:
        return hmac.digest(self._key, credential, "sha256").hex() if self._key else ""

    def _is_sealed(self, content: Content, name: str, credential: bytes) -> bool:
        kept = content.sealed.get(name, "")
        return bool(kept) and hmac.compare_digest(kept, self._digest(credential))


def signature_headers(source: Source, secrets: Iterable[str]) -> list[str]:
    """Names of the headers that prove where a request of `source` comes from, in lower case."""
    return list(dict.fromkeys(name.lower() for secret in secrets for name in source.sign(b"", secret, _EPOCH)))


def _is_private(name: str) -> bool:
    return name in SECRET_HEADERS or bool(_PRIVATE.search(name))


def _spans(scheme: object, inbound: Inbound) -> list[tuple[int, int]]:
    return scheme.secret_spans(inbound) if isinstance(scheme, Handshake) else []


def _mark(index: int) -> bytes:
    return b"~sealed-%d~" % index
