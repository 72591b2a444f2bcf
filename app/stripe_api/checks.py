"""What `bridge doctor` and the Sources page ask Stripe: is our endpoint there and right, and did it get everything?"""

import time
from collections.abc import Iterator, Sequence
from typing import Literal
from urllib.parse import urlsplit

from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.reading.by_key import known_events
from app.stripe_api.arrived import Arrived, why_missing
from app.stripe_api.client import JsonObject, StripeApi, StripeRefused
from app.stripe_api.endpoint import PATH, Plan, Wanted, is_connect, is_disabled, list_endpoints, mark_of, own_url, plan
from app.stripe_api.event_types import wanted_events

DAYS = 3
"""How long Stripe itself tries again (live mode)."""
YOUNG_SECONDS = 600
"""Stripe counts as undelivered what it is just sending."""
MOST = 1000

Finding = tuple[Literal["ok", "warn", "wrong"], str]


def check_stripe(settings: Settings, api: StripeApi, ledger: Ledger | None) -> Iterator[Finding]:
    """Findings, each with its remedy. ledger None: it cannot be asked. Raises StripeApiError."""
    yield from check_endpoint(settings, api)
    try:
        yield from _check_undelivered(settings, api, ledger)
    except StripeRefused as error:
        yield "warn", f"whether Stripe has undelivered events is unknown: {error}"


def check_endpoint(settings: Settings, api: StripeApi) -> Iterator[Finding]:
    """Whether our endpoint is there, enabled, and subscribed to every wanted event; that for connected accounts too, where there
    is one. Raises StripeApiError."""
    if trouble := mode_trouble(settings, api):
        yield "warn", trouble
    endpoints = list_endpoints(api)
    url = own_url(settings) or _only_url(endpoints)
    if url is None:
        yield "warn", "set PUBLIC_URL, so that this can tell whether Stripe's webhook endpoint is right"
        return
    yield from _check_endpoint(settings, endpoints, url, connect=False)
    if any(endpoint.get("url") == url and is_connect(endpoint) for endpoint in endpoints):
        yield from _check_endpoint(settings, endpoints, url, connect=True)


def check_arrived(arrived: Arrived) -> Iterator[Finding]:
    """The same as far as the ledger alone can tell, for those who give the bridge no key to Stripe."""
    if arrived.is_empty:
        return
    for event, shown_by in arrived.missing:
        yield "warn", f"Stripe: {why_missing(event, shown_by)}"
    if arrived.unseen:
        yield (
            "warn",
            f"Stripe: these wanted events have not come yet: {', '.join(arrived.unseen)}. Some are rare; compare with the events of"
            " the webhook endpoint in Stripe's Dashboard, or set STRIPE_API_KEY, and this is checked",
        )


def _only_url(endpoints: Sequence[JsonObject]) -> str | None:
    """The URL of the one endpoint that leads to a bridge, where PUBLIC_URL does not say which it is."""
    urls = {str(endpoint.get("url")) for endpoint in endpoints if urlsplit(str(endpoint.get("url"))).path == PATH}
    return urls.pop() if len(urls) == 1 else None


def mode_trouble(settings: Settings, api: StripeApi) -> str | None:
    """What to mind where the key sees only what the mapping ignores; None if it does not."""
    if api.is_test and not settings.rules.accepts_test_events("stripe"):
        return "STRIPE_API_KEY is a test key, and test events are ignored here: use a live key"
    return None


def _check_endpoint(
    settings: Settings, endpoints: Sequence[JsonObject], url: str, *, connect: bool
) -> Iterator[Finding]:
    planned = plan(endpoints, Wanted(url, wanted_events(settings.rules), mark_of(settings), is_connect=connect))
    option = " --connect" if connect else ""
    current, sync = planned.current, f"`bridge stripe-endpoint sync --url {url}{option}`"
    if current is None:
        yield "wrong", f"Stripe has no webhook endpoint for {url}: create it with {sync}"
        for note in planned.notes:
            yield "warn", note
        return
    name = f"Stripe's webhook endpoint {current.get('id')}{' for connected accounts' if connect else ''}"
    if is_disabled(current):
        missed = (
            "resend what was missed in Stripe's Dashboard"
            if connect
            else "`bridge backfill stripe --since 7d` for what was missed"
        )
        yield "wrong", f"{name} is disabled: enable it with {sync} --enable, then {missed}"
    else:
        yield "ok", f"{name} is enabled"
    if not _event_lines(planned):
        yield "ok", f"{name} is subscribed to all {len(planned.expected.events)} wanted events"
    missing = [line.removeprefix("+ event ") for line in planned.lines if line.startswith("+ event ")]
    needless = [line.removeprefix("- event ") for line in planned.lines if line.startswith("- event ")]
    if missing and "*" not in needless:
        yield "wrong", f"{name} is not sent {', '.join(missing)}: {sync} puts that right"
    elif needless:
        yield "warn", f"{name} is sent more than is of use ({', '.join(needless[:5])}): {sync} puts that right"
    for note in planned.notes:
        if "disabled" not in note:
            yield "warn", f"{name}: {note}"


def _event_lines(planned: Plan) -> list[str]:
    return [line for line in planned.lines if line[2:].startswith("event ")]


def _check_undelivered(settings: Settings, api: StripeApi, ledger: Ledger | None) -> Iterator[Finding]:
    """Stripe tells what did not reach *some* endpoint of the account; what of it we know came all the same."""
    now = int(time.time())
    created = {"gte": now - DAYS * 86400, "lte": now - YOUNG_SECONDS}
    types = list(wanted_events(settings.rules))
    listed = []
    for event in api.each("/v1/events", types=types, created=created, delivery_success=False):
        listed.append(f"stripe:{event.get('id')}")
        if len(listed) >= MOST:
            break
    known: set[str] = set()
    if listed and ledger is not None:
        with ledger.read() as tx:
            known = known_events(tx, listed)
    unknown = len(listed) - len(known)
    if not unknown:
        yield "ok", f"Stripe has no undelivered event of the last {DAYS} days that is not here"
        return
    alone = unknown == 1 and len(listed) < MOST
    many = f"{unknown} or more" if len(listed) >= MOST else str(unknown)
    yield (
        "wrong",
        f"{many} event{'' if alone else 's'} of the last {DAYS} days did not reach an endpoint of the account and"
        f" {'is' if alone else 'are'} not here: fetch with `bridge backfill stripe --since {DAYS + 1}d`",
    )
