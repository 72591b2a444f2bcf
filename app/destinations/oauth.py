"""Access tokens of a destination that gives them for an hour, against a refresh token (RFC 6749, section 6)."""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from pydantic_core import from_json

from app.destinations.connect import Endpoint, Resolver, tls_context
from app.destinations.http import Answer, AnswerLost, Client
from app.errors import TransientDeliveryError

MARGIN_SECONDS = 60.0
"""So long before it ends a token is renewed."""
USUAL_SECONDS = 3600.0
"""How long a token is good whose answer does not say so."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """Where access tokens come from, and for what."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    proxy: str | None = None
    allow_private: bool = False


class Refused(Exception):
    """The refresh token or the client is not accepted. `answer` is what the destination is taken to have answered: 401."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("the refresh token is not accepted")
        self.answer = answer


class AccessTokens:
    """The present access token, renewed when it ends. For one event loop."""

    def __init__(self, oauth: OAuth, timeout_seconds: float, resolver: Resolver | None = None) -> None:
        self._oauth = oauth
        parts = urlsplit(oauth.token_url)
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        tls = tls_context() if is_tls else None
        endpoint = Endpoint(parts.hostname or "", port, tls, oauth.allow_private, "check token_url", oauth.proxy)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._client = Client(endpoint, timeout_seconds, resolver)
        self._token = ""
        self._good_until = 0.0
        self._lock: asyncio.Lock | None = None

    async def token(self, *, instead_of: str = "") -> str:
        """The token, or another one where that is `instead_of`, which was not accepted. Raises Refused, TransientDeliveryError."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:  # all that wait want the same one
            if self._token == instead_of or time.monotonic() >= self._good_until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        fields = {
            "grant_type": "refresh_token",
            "client_id": self._oauth.client_id,
            "client_secret": self._oauth.client_secret,
            "refresh_token": self._oauth.refresh_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            answer = await self._client.request("POST", self._path, headers, urlencode(fields).encode())
        except AnswerLost as lost:  # the conversion itself was not sent
            raise TransientDeliveryError(f"no access token: {self._oauth.token_url}: {lost}") from None
        self._token = ""
        if answer.status in (400, 401, 403):
            raise Refused(Answer(401, answer.headers, answer.body))
        try:
            content = from_json(answer.body)
            token, seconds = content["access_token"], float(content.get("expires_in", USUAL_SECONDS))
        except (ValueError, KeyError, TypeError):
            token = ""
        if (
            answer.status != 200
            or not isinstance(token, str)
            or not token.isascii()
            or not token.isprintable()
            or not token
        ):
            raise TransientDeliveryError(f"no access token: {self._oauth.token_url} answered {answer.status}")
        self._token, self._good_until = token, time.monotonic() + seconds - MARGIN_SECONDS

    def close(self) -> None:
        """Closes idle connections. Idempotent."""
        self._client.close()
