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
    """What the endpoint should be. mark: names this installation; None where it has no SECRET_KEY to derive one from.
    is_connect: it gets the events of connected accounts, and not those of the account itself."""

    url: str
    events: tuple[str, ...]
    mark: str | None = None
    is_connect: bool = False


@dataclass(slots=True)
class Plan:
    """What would be done. `current` is the endpoint as it is, None where it is to be created."""

    wanted: Wanted
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


def find_endpoint(endpoints: Iterable[JsonObject], wanted: Wanted) -> JsonObject | None:
    """Ours among them: the one of its kind with exactly our URL (an enabled one first). No other is ever touched."""
    ours = [e for e in endpoints if e.get("url") == wanted.url and is_connect(e) == wanted.is_connect]
    return min(ours, key=lambda e: (is_disabled(e), _mark_of(e) != wanted.mark), default=None)


def plan(endpoints: Sequence[JsonObject], wanted: Wanted, *, enable: bool = False) -> Plan:
    """How to make ours what is wanted. enable: also where it is disabled."""
    current = find_endpoint(endpoints, wanted)
    if current is None:
        made = _creation(wanted)
        made.notes += _similar(endpoints, wanted)
        return made
    made = Plan(wanted, current)
    _plan_events(made, current)
    if is_disabled(current):
        if enable:
            made.changes["disabled"] = False
            made.lines += ["- status disabled", "+ status enabled"]
        else:
            missed = (
                "what was missed can be resent in Stripe's Dashboard"
                if wanted.is_connect
                else "then `bridge backfill stripe --since 30d` for what was missed"
            )
            made.notes.append(f"it is disabled, so Stripe sends it nothing: add --enable to enable it ({missed})")
    made.notes += _notes(endpoints, current, wanted)
    return made


def apply(api: StripeApi, made: Plan) -> JsonObject:
    """Does what is planned; the endpoint as it then is, with its `secret` only where it was created. Raises StripeApiError."""
    if made.current is None:
        return api.post("/v1/webhook_endpoints", **made.changes)
    if not made.changes:
        return made.current
    return api.post(f"/v1/webhook_endpoints/{made.current['id']}", **made.changes)


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
    """Where Stripe should send to, by PUBLIC_URL; None where that is not set."""
    return settings.public_url + PATH if settings.public_url else None


def _creation(wanted: Wanted) -> Plan:
    changes: dict[str, Any] = {
        "url": wanted.url,
        "enabled_events": list(wanted.events),
        "api_version": API_VERSION,
        "description": DESCRIPTION,
    }
    metadata = ({MARK: wanted.mark} if wanted.mark else {}) | ({SCOPE: CONNECTED} if wanted.is_connect else {})
    if metadata:
        changes["metadata"] = metadata
    lines = [f"+ url {wanted.url}", f"+ api_version {API_VERSION}", *(f"+ event {event}" for event in wanted.events)]
    if wanted.is_connect:
        changes["connect"] = True
        lines.insert(1, "+ connect true")
    return Plan(wanted, None, changes, lines)


def _plan_events(made: Plan, current: JsonObject) -> None:
    """The order in which Stripe lists them means nothing."""
    enabled, wanted = _events_of(current), made.wanted.events
    removed, added = [e for e in enabled if e not in wanted], [e for e in wanted if e not in enabled]
    if removed or added:
        made.changes["enabled_events"] = list(wanted)
        made.lines += [f"- event {event}" for event in removed] + [f"+ event {event}" for event in added]


def _notes(endpoints: Sequence[JsonObject], current: JsonObject, wanted: Wanted) -> list[str]:
    notes = []
    version = current.get("api_version")
    if version != API_VERSION:
        notes.append(
            f"its API version is {version or 'the default of the account'} and not {API_VERSION}; Stripe cannot change it."
            " The bridge reads both, so this may stay. To have the other: delete the endpoint in Stripe's Dashboard, run"
            " this again, set the new STRIPE_WEBHOOK_SECRET, and `bridge backfill stripe --since 1h` for what came meanwhile"
        )
    same = [e for e in endpoints if is_connect(e) == wanted.is_connect]
    others = [e for e in same if e.get("url") == wanted.url and e is not current and not is_disabled(e)]
    if others:
        names = ", ".join(str(endpoint.get("id")) for endpoint in others)
        notes.append(
            f"{names} has the same URL: each event comes twice (and counts once); delete what is not needed in the Dashboard"
        )
    return notes + _similar(endpoints, wanted)


def _similar(endpoints: Sequence[JsonObject], wanted: Wanted) -> list[str]:
    """Stripe takes URLs that only look different for different ones."""
    place = _place_of(wanted.url)
    return [
        f"{endpoint.get('id')} is for {endpoint.get('url')}, which leads to the same place as {wanted.url}: with both, each"
        " event comes twice, under two signing secrets. Delete one of them in the Dashboard, or keep that one with --url"
        for endpoint in endpoints
        if endpoint.get("url") != wanted.url
        and not is_disabled(endpoint)
        and is_connect(endpoint) == wanted.is_connect
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
