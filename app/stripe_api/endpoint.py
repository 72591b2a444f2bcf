"""The webhook endpoint at Stripe: what it should be, what it is, and the change from one to the other. Planning is pure.

Ours is the one whose URL is exactly ours; no other is ever touched. A Connect platform has two of them: one for its own events, and
one for those of its connected accounts. Which of the two an endpoint is cannot be changed, and Stripe does not return it: a Connect
endpoint names its application. https://docs.stripe.com/api/webhook_endpoints, https://docs.stripe.com/connect/webhooks
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from app.config.settings import Settings
from app.stripe_api.client import API_VERSION, JsonObject, StripeApi

PATH = "/webhooks/stripe"
MARK = "conversion_bridge"
SCOPE, CONNECTED = "conversion_bridge_scope", "connected_accounts"
"""In the metadata of a Connect endpoint that was made here."""
DESCRIPTION = "Conversion Bridge: Sales and Leads for link attribution"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the endpoint should be. mark: names this installation; None if it has no SECRET_KEY to derive one from.
    is_connect: it gets the events of connected accounts, and not those of the account itself."""

    url: str
    events: tuple[str, ...]
    mark: str | None = None
    is_connect: bool = False


@dataclass(slots=True)
class Plan:
    """What would be done. `current` is the endpoint as it is, None if it is to be created."""

    expected: Wanted
    current: JsonObject | None
    changes: dict[str, Any] = field(default_factory=dict)
    """Parameters of the request that makes it so; empty: nothing to change."""
    lines: list[str] = field(default_factory=list)
    """The same for people, as a diff."""
    notes: list[str] = field(default_factory=list)
    """What is not as it should be, and that this changes nothing about."""

    @property
    def is_needed(self) -> bool:
        return self.current is None or bool(self.changes)


def list_endpoints(api: StripeApi) -> list[JsonObject]:
    """All of the account's (in the key's mode). Raises StripeApiError."""
    return list(api.each("/v1/webhook_endpoints"))


def find_endpoint(endpoints: Iterable[JsonObject], expected: Wanted) -> JsonObject | None:
    """Ours among them: the one of its kind with exactly our URL (an enabled one first). No other is ever touched."""
    ours = [e for e in endpoints if e.get("url") == expected.url and is_connect(e) == expected.is_connect]
    return min(ours, key=lambda e: (is_disabled(e), _mark_of(e) != expected.mark), default=None)


def plan(endpoints: Sequence[JsonObject], expected: Wanted, *, enable: bool = False) -> Plan:
    """How to make ours what is wanted. enable: also where it is disabled."""
    current = find_endpoint(endpoints, expected)
    if current is None:
        planned = _creation(expected)
        planned.notes += _similar(endpoints, expected)
        return planned
    planned = Plan(expected, current)
    _plan_events(planned, current)
    if is_disabled(current):
        if enable:
            planned.changes["disabled"] = False
            planned.lines += ["- status disabled", "+ status enabled"]
        else:
            missed = (
                "what was missed can be resent in Stripe's Dashboard"
                if expected.is_connect
                else "then `bridge backfill stripe --since 30d` for what was missed"
            )
            planned.notes.append(f"it is disabled, so Stripe sends it nothing: add --enable to enable it ({missed})")
    planned.notes += _notes(endpoints, current, expected)
    return planned


def apply(api: StripeApi, planned: Plan) -> JsonObject:
    """Does what is planned; the endpoint as it then is, with its `secret` only where it was created. Raises StripeApiError."""
    if planned.current is None:
        return api.post("/v1/webhook_endpoints", **planned.changes)
    if not planned.changes:
        return planned.current
    return api.post(f"/v1/webhook_endpoints/{planned.current['id']}", **planned.changes)


def is_disabled(endpoint: JsonObject) -> bool:
    return endpoint.get("status") == "disabled"


def is_connect(endpoint: JsonObject) -> bool:
    """Whether it gets the events of connected accounts."""
    metadata = endpoint.get("metadata")
    return bool(endpoint.get("application")) or (isinstance(metadata, dict) and metadata.get(SCOPE) == CONNECTED)


def mark_of(settings: Settings) -> str | None:
    """Names this installation in Stripe without telling anything of it: derived from SECRET_KEY."""
    if settings.secret_key is None:
        return None
    key = settings.secret_key.get_secret_value().encode()
    return hmac.new(key, b"stripe webhook endpoint", hashlib.sha256).hexdigest()[:16]


def own_url(settings: Settings) -> str | None:
    """Where Stripe should send to, by PUBLIC_URL; None if that is not set."""
    return settings.public_url + PATH if settings.public_url else None


def _creation(expected: Wanted) -> Plan:
    changes: dict[str, Any] = {
        "url": expected.url,
        "enabled_events": list(expected.events),
        "api_version": API_VERSION,
        "description": DESCRIPTION,
    }
    metadata = ({MARK: expected.mark} if expected.mark else {}) | ({SCOPE: CONNECTED} if expected.is_connect else {})
    if metadata:
        changes["metadata"] = metadata
    lines = [
        f"+ url {expected.url}",
        f"+ api_version {API_VERSION}",
        *(f"+ event {event}" for event in expected.events),
    ]
    if expected.is_connect:
        changes["connect"] = True
        lines.insert(1, "+ connect true")
    return Plan(expected, None, changes, lines)


def _plan_events(planned: Plan, current: JsonObject) -> None:
    """The order in which Stripe lists them means nothing."""
    enabled, expected = _events_of(current), planned.expected.events
    removed, added = [e for e in enabled if e not in expected], [e for e in expected if e not in enabled]
    if removed or added:
        planned.changes["enabled_events"] = list(expected)
        planned.lines += [f"- event {event}" for event in removed] + [f"+ event {event}" for event in added]


def _notes(endpoints: Sequence[JsonObject], current: JsonObject, expected: Wanted) -> list[str]:
    notes = []
    version = current.get("api_version")
    if version != API_VERSION:
        notes.append(
            f"its API version is {version or 'the default of the account'} and not {API_VERSION}; Stripe cannot change it."
            " The bridge reads both, so you can leave it. To change it: delete the endpoint in Stripe's Dashboard, run this"
            " again, set the new STRIPE_WEBHOOK_SECRET, and run `bridge backfill stripe --since 1h` for the events in between"
        )
    same = [e for e in endpoints if is_connect(e) == expected.is_connect]
    others = [e for e in same if e.get("url") == expected.url and e is not current and not is_disabled(e)]
    if others:
        names = ", ".join(str(endpoint.get("id")) for endpoint in others)
        notes.append(
            f"{names} has the same URL: each event comes twice (and counts once); delete what is not needed in the Dashboard"
        )
    return notes + _similar(endpoints, expected)


def _similar(endpoints: Sequence[JsonObject], expected: Wanted) -> list[str]:
    """Stripe takes URLs that only look different for different ones."""
    place = _place_of(expected.url)
    return [
        f"{endpoint.get('id')} is for {endpoint.get('url')}, which leads to the same place as {expected.url}: with both, each"
        " event comes twice, under two signing secrets. Delete one of them in the Dashboard, or keep that one with --url"
        for endpoint in endpoints
        if endpoint.get("url") != expected.url
        and not is_disabled(endpoint)
        and is_connect(endpoint) == expected.is_connect
        and _place_of(str(endpoint.get("url"))) == place
    ]


def _place_of(url: str) -> tuple[str, str, int | None, str, str]:
    """Where requests to `url` go: without a default port, a last slash, or capitals in the host's name."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return ("", url, None, "", "")
    return (parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"), parts.query)


def _events_of(endpoint: JsonObject) -> list[str]:
    events = endpoint.get("enabled_events")
    return [str(event) for event in events] if isinstance(events, list) else []


def _mark_of(endpoint: JsonObject) -> object:
    metadata = endpoint.get("metadata")
    return metadata.get(MARK) if isinstance(metadata, dict) else None
