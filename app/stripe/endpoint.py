"""The bridge's webhook endpoint at Stripe: how it is, how it should be, and making it so. Other endpoints are never touched.

https://docs.stripe.com/api/webhook_endpoints
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from app.errors import ConfigurationError
from app.model import Rules
from app.stripe.client import API_VERSION, StripeApi
from app.stripe.wanted import wanted_events

PATH = "/v1/webhook_endpoints"
DESCRIPTION = "Conversion Bridge"
METADATA = {"made_by": "conversion-bridge"}
MOST_UNDELIVERED = 100
"""Counted up to here; more are 'at least'."""
UNDELIVERED_SECONDS = 3 * 86400
"""How long Stripe itself goes on trying."""
REPLACE = "delete it in the Dashboard and run `bridge stripe-endpoint sync` again, which prints a new secret"

Finding = tuple[str, str]
"""("ok" | "warn" | "wrong", text)"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the account's webhook endpoints, as far as it matters here."""

    id: str
    url: str
    events: frozenset[str]
    is_enabled: bool
    api_version: str | None

    @property
    def takes_all(self) -> bool:
        return "*" in self.events


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would do. `endpoint` is None where one would be made."""

    url: str
    wanted: tuple[str, ...]
    endpoint: Endpoint | None

    @property
    def added(self) -> list[str]:
        return [event for event in self.wanted if self.endpoint is None or event not in self.endpoint.events]

    @property
    def removed(self) -> list[str]:
        return sorted(self.endpoint.events - set(self.wanted)) if self.endpoint else []

    @property
    def is_empty(self) -> bool:
        """There is nothing to change."""
        return self.endpoint is not None and not self.added and not self.removed

    def lines(self) -> Iterator[str]:
        """The difference, for people."""
        if self.endpoint is None:
            yield f"+ endpoint {self.url} (API version {API_VERSION})"
        yield from (f"+ event {event}" for event in self.added)
        yield from (f"- event {event}" for event in self.removed)

    def remedies(self) -> Iterator[str]:
        """What is wrong with the endpoint that a sync cannot mend."""
        if self.endpoint is None:
            return
        if not self.endpoint.is_enabled:
            yield (
                f"{self.endpoint.id} is disabled: enable it in the Dashboard, under Developers, Webhooks; then fetch what was"
                " missed with `bridge backfill stripe --since 30d`"
            )
        if self.endpoint.api_version != API_VERSION:
            has = self.endpoint.api_version or "the account's default API version"
            yield (
                f"{self.endpoint.id} speaks {has}, not {API_VERSION}: that is read as well; Stripe cannot change it, so to have"
                f" it otherwise, {REPLACE}"
            )


def plan(api: StripeApi, url: str, rules: Rules) -> Plan:
    """Compares Stripe's endpoint of exactly that url with what is wanted. Changes nothing. Raises StripeApiError, and
    ConfigurationError where several endpoints have the url: which of them is meant nobody can tell."""
    found = [endpoint for endpoint in map(_read, api.each(PATH)) if endpoint.url == url]
    if len(found) > 1:
        names = ", ".join(endpoint.id for endpoint in found)
        raise ConfigurationError(
            f"{len(found)} endpoints at Stripe have the url {url} ({names}): delete all but one in the Dashboard"
        )
    return Plan(url, wanted_events(rules), found[0] if found else None)


def apply(api: StripeApi, wanted: Plan) -> str | None:
    """Does what the plan says; returns the signing secret where an endpoint was made. Raises StripeApiError."""
    if wanted.is_empty:
        return None
    events: dict[str, Any] = {"enabled_events": list(wanted.wanted)}
    if wanted.endpoint is not None:
        api.post(f"{PATH}/{wanted.endpoint.id}", **events)
        return None
    answer = api.post(
        PATH, url=wanted.url, api_version=API_VERSION, description=DESCRIPTION, metadata=METADATA, **events
    )
    return str(answer.get("secret") or "")


def webhook_url(text: str) -> str:
    """The URL that Stripe is to post to: `text`, and our path where it is a base alone. Raises ConfigurationError."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError("--url must be like https://bridge.example.com/webhooks/stripe")
    return text.strip() if parts.path.strip("/") else f"{text.strip().rstrip('/')}/webhooks/stripe"


def examine(api: StripeApi, public_url: str, rules: Rules) -> Iterator[Finding]:
    """For doctor. Raises StripeApiError and ConfigurationError."""
    url = f"{public_url}/webhooks/stripe"
    found = plan(api, url, rules)
    if found.endpoint is None:
        yield "wrong", f"Stripe has no endpoint with the url {url}: `bridge stripe-endpoint sync --url {url}` makes it"
        return
    if not found.added and not found.removed:
        yield "ok", f"Stripe's endpoint {found.endpoint.id} has exactly the events wanted"
    elif found.added and not found.endpoint.takes_all:
        yield (
            "wrong",
            f"Stripe's endpoint lacks {', '.join(found.added)}: `bridge stripe-endpoint sync --url {url}` adds them",
        )
    else:
        yield (
            "warn",
            f"Stripe's endpoint sends more than is wanted: `bridge stripe-endpoint sync --url {url}` narrows it",
        )
    for remedy in found.remedies():
        yield ("warn" if found.endpoint.is_enabled else "wrong"), remedy
    yield from _undelivered(api, found.wanted)


def _undelivered(api: StripeApi, types: tuple[str, ...]) -> Iterator[Finding]:
    """Stripe says it of the account, not of one endpoint. https://docs.stripe.com/api/events/list"""
    since = int(time.time()) - UNDELIVERED_SECONDS
    events = api.each("/v1/events", types=list(types), created={"gte": since}, delivery_success=False)
    count = sum(1 for _ in islice(events, MOST_UNDELIVERED))
    if count:
        atleast = "at least " if count == MOST_UNDELIVERED else ""
        yield (
            "warn",
            f"Stripe could not deliver {atleast}{count} events of the last 3 days (to this endpoint or another of the account):"
            " `bridge backfill stripe --since 3d` fetches those that never came",
        )
    else:
        yield "ok", "Stripe reports no undelivered events of the last 3 days"


def _read(found: Mapping[str, Any]) -> Endpoint:
    events, version = found.get("enabled_events"), found.get("api_version")
    return Endpoint(
        id=str(found.get("id")),
        url=str(found.get("url")),
        events=frozenset(str(event) for event in events) if isinstance(events, list) else frozenset(),
        is_enabled=found.get("status") == "enabled",
        api_version=version if isinstance(version, str) else None,
    )
