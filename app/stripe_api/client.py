"""Requests to Stripe's API, over the stripe library. Answers are plain dicts; errors say what to do.

https://docs.stripe.com/api/pagination, https://docs.stripe.com/api/errors, https://docs.stripe.com/rate-limits
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from app.config.proxies import Proxies
from app.config.settings import Settings
from app.errors import BridgeError, ConfigurationError

API_VERSION = "2025-11-17.clover"
"""The rendering that the mapping was written and tested for; asked for in every request, so that a newer library changes
nothing. New endpoints get it too. (Older renderings are read as well: an existing endpoint need not be replaced.)"""
PUBLIC_BASE = "https://api.stripe.com"
KEPT_SECONDS = 30 * 86400
"""How long Stripe keeps events."""
PAGE = 100
CONNECT_SECONDS = 10.0
RETRIES = 2
"""The library's own, for lost connections and answers of 409 and 5xx, half a second to five apart."""
RATE_LIMIT_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""The library leaves a 429 to its caller."""
PERMISSIONS = {
    "/v1/webhook_endpoints": "Webhook Endpoints",
    "/v1/events": "Events",
    "/v1/invoices": "Invoices",
    "/v1/invoice_payments": "Invoices",
    "/v1/checkout/sessions": "Checkout Sessions",
    "/v1/payment_intents": "PaymentIntents",
    "/v1/charges": "Charges and Refunds",
    "/v1/customers": "Customers",
    "/v1/subscriptions": "Subscriptions",
}

JsonObject = dict[str, Any]


class StripeApiError(BridgeError):
    """Stripe's API did not do what was asked. The text says what to do, and holds no key."""


class StripeRefused(StripeApiError):
    """The key is wrong or lacks a permission: the same again until somebody changes it."""


class StripeNotFound(StripeApiError):
    """Stripe knows no object of that id, not in this account and mode."""


class StripeApi:
    """One account's API. Safe to share between threads."""

    def __init__(
        self,
        key: str,
        base: str | None = None,
        *,
        timeout_seconds: float = 30,
        retries: int = RETRIES,
        rate_limit_pauses: Sequence[float] = RATE_LIMIT_PAUSES,
        sleep: Callable[[float], object] = time.sleep,
        proxies: Proxies | None = None,
    ) -> None:
        self._key = _checked(key)
        self.base = _safe(base or PUBLIC_BASE)
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._pauses = tuple(rate_limit_pauses)
        self._sleep = sleep
        self._proxies = proxies or Proxies(None, {})

    @property
    def is_test(self) -> bool:
        """The key is one of test mode: it sees no live object."""
        return "_test_" in self._key

    @property
    def key(self) -> str:
        """For fingerprints; never to be shown."""
        return self._key

    def get(self, path: str, account: str | None = None, **params: Any) -> JsonObject:
        """One object or list. account: a connected account's id (Connect). Raises StripeApiError."""
        return self._ask("get", path, account, params)

    def post(self, path: str, **params: Any) -> JsonObject:
        """Creates or changes an object. Tried again under one idempotency key, so it is done once. Raises StripeApiError."""
        return self._ask("post", path, None, params)

    def each(self, path: str, account: str | None = None, **params: Any) -> Iterator[JsonObject]:
        """Every object of a list, newest first, fetched page by page as they are read. Raises StripeApiError."""
        after: dict[str, str] = {}
        while True:
            page = self.get(path, account, limit=PAGE, **after, **params)
            items = [item for item in page.get("data") or () if isinstance(item, dict)]
            yield from items
            last = items[-1].get("id") if items else None
            if not page.get("has_more") or not isinstance(last, str) or last == after.get("starting_after"):
                return
            after = {"starting_after": last}

    @cached_property
    def _client(self) -> Any:
        import stripe

        timeout = (CONNECT_SECONDS, self._timeout_seconds)
        http = stripe.RequestsClient(timeout=timeout, session=self._proxies.session(self.base))
        return stripe.StripeClient(
            self._key,
            base_addresses={"api": self.base},
            stripe_version=API_VERSION,
            max_network_retries=self._retries,
            http_client=http,
        )

    def _ask(self, method: str, path: str, account: str | None, params: JsonObject) -> JsonObject:
        import stripe

        options = {"stripe_account": account} if account else {}
        pauses = iter(self._pauses)
        while True:
            try:
                answer = self._client.raw_request(method, path, **options, **params)
            except stripe.RateLimitError as error:
                pause = next(pauses, None)
                if pause is None:
                    raise StripeApiError(
                        "Stripe answers 429, too many requests, again and again: try later; what was done is kept"
                    ) from error
                self._sleep(pause)
                continue
            except stripe.StripeError as error:
                raise self._explain(error, method, path) from error
            if not isinstance(answer.data, dict):
                raise StripeApiError(f"{self.base} answered {path} with something else than Stripe's API would")
            return answer.data

    def _explain(self, error: Any, method: str, path: str) -> StripeApiError:
        """What went wrong, in our own words where the remedy is known, never with the key."""
        status, message = error.http_status, self._redact(str(error.user_message or ""))
        if status is None:
            cause = type(error.__cause__ or error).__name__
            return StripeApiError(
                f"Stripe's API at {self.base} cannot be reached ({cause}): check the network, and STRIPE_API_BASE if it is set"
            )
        if status == 401:
            return StripeRefused(
                "Stripe refuses STRIPE_API_KEY (401): it is wrong, expired or revoked; copy the account's secret key or a"
                " restricted one from the Dashboard, under Developers, API keys"
            )
        if status == 403:
            needed = _permission(path, "Write" if method == "post" else "Read")
            named = re.search(r"rak_\w+", message)
            also = f" (Stripe calls it {named.group()})" if named else f" ({message})" if message else ""
            return StripeRefused(
                f"STRIPE_API_KEY lacks a permission (403): give the restricted key {needed}{also} in the Dashboard, under"
                " Developers, API keys"
            )
        if status == 404:
            return StripeNotFound(f"Stripe has no such object: {message or path}")
        if status >= 500:
            return StripeApiError(f"Stripe answered {status}: its API has trouble, try again later")
        return StripeApiError(f"Stripe answered {status} to {method.upper()} {path}: {message or 'no reason given'}")

    def _redact(self, text: str) -> str:
        text = re.sub(r"\b(?:sk|rk|whsec)_[\w*]+", "***", text.replace(self._key, "***"))
        return " ".join(text.split())[:300]


def make_api(settings: Settings) -> StripeApi:
    """The API under STRIPE_API_KEY, for a command. Raises ConfigurationError if that is missing or no key."""
    return StripeApi(_key_of(settings), settings.stripe_api_base, proxies=settings.proxies)


def make_hasty_api(settings: Settings) -> StripeApi:
    """The same for a worker, whose question is worth nothing later: it gives up soon."""
    return StripeApi(
        _key_of(settings),
        settings.stripe_api_base,
        timeout_seconds=8,
        retries=1,
        rate_limit_pauses=(),
        proxies=settings.proxies,
    )


def _key_of(settings: Settings) -> str:
    if settings.stripe_api_key is None:
        raise ConfigurationError(
            "set STRIPE_API_KEY to a secret or restricted key of the Stripe account (Dashboard, Developers, API keys)"
        )
    return settings.stripe_api_key.get_secret_value()


def _permission(path: str, access: str) -> str:
    permission = next((name for start, name in PERMISSIONS.items() if f"{path}/".startswith(f"{start}/")), None)
    return f"the permission {permission}: {access}" if permission else f"{access} access to {path}"


def _checked(key: str) -> str:
    key = key.strip()
    if key.startswith("pk_"):
        raise ConfigurationError("STRIPE_API_KEY is a publishable key: take the secret key or a restricted one")
    if key.startswith("whsec_"):
        raise ConfigurationError("STRIPE_API_KEY is a signing secret: that belongs into STRIPE_WEBHOOK_SECRET")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", key):
        raise ConfigurationError("STRIPE_API_KEY is not a key: it holds characters that no key has")
    return key


def _safe(base: str) -> str:
    """The key goes there: over https, or to this machine."""
    parts = urlsplit(base)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ConfigurationError("STRIPE_API_BASE must begin with https://: the API key is sent there")
    return base.rstrip("/")
