"""Talks to an OpenID provider: discovery, the authorization code flow with PKCE, and the checks of the ID token.

https://openid.net/specs/openid-connect-core-1_0.html, https://openid.net/specs/openid-connect-discovery-1_0.html,
https://www.rfc-editor.org/rfc/rfc7636 (PKCE), https://www.rfc-editor.org/rfc/rfc9207 (the issuer in the callback).
"""

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt
import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session

from app.config.oidc import Oidc
from app.config.proxies import Proxies
from app.errors import BridgeError
from app.web.sso.claims import Identity, identity_of

TIMEOUT_SECONDS = 10.0
KEPT_SECONDS = 3600.0
"""How long the provider's document and keys are used before they are fetched again."""
LEAST_BETWEEN_SECONDS = 10.0
"""Between two fetches of what could not be fetched, or of keys because of one that is not among them."""
LEEWAY_SECONDS = 60
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by the provider's private key alone. With `none` or an HMAC, others could make tokens."""
REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class SignInRefused(BridgeError):
    """The provider's answer is invalid or refuses the sign-in."""


class ProviderUnavailable(BridgeError):
    """The provider does not answer, or not like an OpenID provider."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The values that the browser must bring back from the provider. They are kept in its session."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """One provider, for all threads of a process."""

    def __init__(self, oidc: Oidc, proxies: Proxies, clock: Callable[[], float] = time.monotonic) -> None:
        self.oidc = oidc
        self._proxies = proxies
        self._clock = clock
        self._lock = threading.Lock()
        self._document: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, jwt.PyJWKSet] | None = None
        self._failed: tuple[float, str] | None = None

    def begin(self) -> tuple[str, Pending]:
        """The URL to send the browser to, and the values it must bring back. Raises ProviderUnavailable."""
        document = self.document()
        pending = Pending(*(secrets.token_urlsafe(32) for _ in range(3)))
        with self._session(document["authorization_endpoint"], document) as http:
            url, _ = http.create_authorization_url(
                document["authorization_endpoint"],
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return str(url), pending

    def finish(self, pending: Pending, answer: Mapping[str, str]) -> Identity:
        """The user who signed in. answer: the query parameters of the callback. Raises SignInRefused or ProviderUnavailable."""
        if not hmac.compare_digest(answer.get("state", "").encode("utf-8", "replace"), pending.state.encode()):
            raise SignInRefused(
                "this sign-in was not begun in this browser, or another one was begun since: start again"
            )
        document = self.document()
        issuer = answer.get("iss")
        if issuer is None and document.get("authorization_response_iss_parameter_supported") is True:
            raise SignInRefused("the callback does not name the provider that it comes from")
        if issuer not in (None, document["issuer"]):
            raise SignInRefused("the callback comes from another provider")
        if "error" in answer:
            denied = answer["error"] == "access_denied"
            raise SignInRefused("the provider denied the sign-in" if denied else "the provider could not sign you in")
        if not answer.get("code"):
            raise SignInRefused("the callback has no code")
        tokens = self._exchange(document, answer["code"], pending.verifier)
        claims = self._verified(document, str(tokens.get("id_token") or ""), pending.nonce)
        if self.oidc.groups_claim.split(".")[0] not in claims and "userinfo_endpoint" in document:
            claims = {**self._userinfo(document, str(tokens.get("access_token") or ""), claims), **claims}
        return identity_of(claims, self.oidc.groups_claim)

    def end_url(self) -> str | None:
        """The URL at which a browser ends its session at the provider; None if the provider has none or does not answer."""
        try:
            end = self.document().get("end_session_endpoint")
        except ProviderUnavailable:
            return None
        if not isinstance(end, str):
            return None
        back = {"client_id": self.oidc.client_id, "post_logout_redirect_uri": f"{self.oidc.public_url}/login"}
        return f"{end}{'&' if '?' in end else '?'}{urlencode(back)}"

    def document(self) -> Mapping[str, Any]:
        """The provider's discovery document. Raises ProviderUnavailable."""
        with self._lock:
            now = self._clock()
            if self._document is not None and now - self._document[0] < KEPT_SECONDS:
                return self._document[1]
            if self._failed is not None and now - self._failed[0] < LEAST_BETWEEN_SECONDS:
                raise ProviderUnavailable(self._failed[1])
            try:
                document = self._discover()
            except ProviderUnavailable as error:
                self._failed = (now, str(error))
                raise
            self._document, self._failed = (now, document), None
            return document

    def _discover(self) -> Mapping[str, Any]:
        base = self.oidc.issuer.rstrip("/")
        document = self._get(f"{base}/.well-known/openid-configuration")
        if str(document.get("issuer", "")).rstrip("/") != base:
            raise ProviderUnavailable(
                f"{base} calls itself by another issuer: set OIDC_ISSUER to the one in its document"
            )
        for name in REQUIRED:
            if not isinstance(document.get(name), str) or not str(document[name]).startswith(("https://", "http://")):
                raise ProviderUnavailable(f"the discovery document of {base} has no {name}")
            if base.startswith("https://") and not str(document[name]).startswith("https://"):
                raise ProviderUnavailable(f"{name} of {base} does not begin with https://")
        return document

    def _exchange(self, document: Mapping[str, Any], code: str, verifier: str) -> Mapping[str, Any]:
        url = str(document["token_endpoint"])
        try:
            with self._session(url, document) as http:
                token: Mapping[str, Any] = http.fetch_token(
                    url,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    allow_redirects=False,
                    timeout=TIMEOUT_SECONDS,
                )
        except AuthlibBaseError:
            raise SignInRefused("the provider did not accept the code: start again") from None
        except (requests.RequestException, ValueError) as error:
            raise ProviderUnavailable(f"the provider did not exchange the code ({type(error).__name__})") from None
        return token

    def _verified(self, document: Mapping[str, Any], token: str, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token that this provider issued to us for this sign-in. Raises SignInRefused."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            keys = self._keys_for(document, key_id)
        except jwt.PyJWTError:
            raise SignInRefused("the provider sent no ID token that can be read") from None
        problem = "no key of the provider made its signature"
        for key in keys:
            try:
                claims: Mapping[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=ALGORITHMS,
                    audience=self.oidc.client_id,
                    issuer=str(document["issuer"]),
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["exp", "iat", "iss", "aud", "sub"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                problem = str(error)
                continue
            if not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
                raise SignInRefused("the ID token belongs to another sign-in: start again")
            if len(audiences := _listed(claims["aud"])) > 1 and claims.get("azp") != self.oidc.client_id:
                raise SignInRefused(f"the ID token is for {len(audiences)} programs, and was not issued to this one")
            return claims
        raise SignInRefused(f"the ID token cannot be trusted: {problem}")

    def _keys_for(self, document: Mapping[str, Any], key_id: object) -> list[jwt.PyJWK]:
        """The provider's keys with this ID, or all if the token names none. Fetches the keys again for an unknown ID."""
        with self._lock:
            now = self._clock()
            for age in (KEPT_SECONDS, LEAST_BETWEEN_SECONDS):
                if self._keys is None or now - self._keys[0] >= age:
                    self._keys = (now, jwt.PyJWKSet.from_dict(dict(self._get(str(document["jwks_uri"])))))
                matching = [key for key in self._keys[1].keys if key_id is None or key.key_id == key_id]
                if matching:
                    return matching
        return []

    def _userinfo(self, document: Mapping[str, Any], token: str, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        userinfo = self._get(str(document["userinfo_endpoint"]), {"Authorization": f"Bearer {token}"})
        if userinfo.get("sub") != claims["sub"]:
            raise SignInRefused("the provider described another user than the one who signed in")
        return userinfo

    def _get(self, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises ProviderUnavailable."""
        try:
            with self._proxies.session(url) as http:
                answer = http.get(url, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)
            content = answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError) as error:
            raise ProviderUnavailable(f"{url} cannot be read ({type(error).__name__})") from None
        if not isinstance(content, dict):
            raise ProviderUnavailable(f"{url} answered {answer.status_code} without a JSON object")
        return content

    def _session(self, url: str, document: Mapping[str, Any]) -> Any:
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        http = OAuth2Session(
            self.oidc.client_id,
            self.oidc.client_secret,
            token_endpoint_auth_method=next(
                (method for method in ("client_secret_basic", "client_secret_post") if method in methods),
                "client_secret_basic",
            ),
            scope=self.oidc.scopes,
            redirect_uri=self.oidc.redirect_uri,
            code_challenge_method="S256",
        )
        http.trust_env = False
        http.proxies = self._proxies.session(url).proxies
        return http


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
