"""Shows what a body would become. Maps only: checks no signature, remembers and stores nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic_core import from_json, to_json

from app.clicks import Seen
from app.destinations.formats.events import Events
from app.destinations.target import Destination
from app.errors import MalformedEvent
from app.model import DeliveryKind, Facts, Inbound, Mapped, Rules, dedupe_key
from app.persons import NOBODY, customer_id_of, shown_phone
from app.sources.base import Source


def parts_of(source: Source, inbound: Inbound) -> Sequence[Inbound]:
    """A request for each event that a request holds, as intake takes them."""
    try:
        return source.split(inbound) or (inbound,)
    except MalformedEvent:
        return (inbound,)


def facts_of(
    mapped: Mapped, received_at: datetime, rules: Rules, source: str, *, net_of_tax: bool = False
) -> Facts | None:
    """The facts of a conversion from its body alone; None if it names no customer."""
    customer_id = customer_id_of(mapped.who, rules.phone_region)
    if customer_id is None:
        return None
    at = mapped.occurred_at or received_at
    return Facts(
        kind=mapped.kind,
        occurred_at=at,
        customer_id=customer_id,
        click_id=mapped.who.click_id,
        email=mapped.who.email,
        name=mapped.who.name,
        phone=shown_phone(mapped.who.phone, rules.phone_region),
        sale=mapped.sale.net if mapped.sale and net_of_tax else mapped.sale,
        lead=mapped.lead,
        source=source,
        clicks={name: Seen(value, int(at.timestamp() * 1000)) for name, value in mapped.who.clicks.items()},
        key=dedupe_key(source, mapped, mapped.keys[0]) if mapped.keys else "",
    )


def request_to(destination: Destination, facts: Facts, key: str, now: datetime) -> dict[str, Any]:
    """{"request": …}: what `destination` would be sent, {method, url, headers, body}, with masks instead of secrets; None if it
    takes no conversion of this kind. With "not_sent" where it needs what this body alone does not tell."""
    if facts.kind not in destination.format.kinds:
        return {"request": None, "not_sent": f"{destination.name} takes no {facts.kind}"}
    return shown_request(destination, facts.kind, to_json(destination.format.body(facts).fields).decode(), key, now)


def shown_request(
    destination: Destination, kind: DeliveryKind, payload: str, key: str, now: datetime
) -> dict[str, Any]:
    """The same for a payload that is rendered already."""
    asked = destination.shown_request(kind, payload, key, now)
    shown = {"method": asked.method, "url": destination.url + asked.path, "headers": dict(asked.headers)}
    held = destination.format.not_sent(kind, payload)
    return {
        "request": {**shown, "body": json_or_text(asked.body)},
        **({"not_sent": held.error} if held else {}),
    }


def json_or_text(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def explain(
    source: Source, inbound: Inbound, rules: Rules, received_at: datetime, destination: Destination | None = None
) -> dict[str, Any]:
    """One line of `bridge map`, less the file: outcome, reason, event_id, event_type, dedupe_keys, payload (format events); with
    a destination, the request that it would be sent as well (None if it would be sent none)."""
    try:
        mapped: Mapped | str = source.map(inbound, rules)
    except MalformedEvent as error:
        mapped = str(error)
    line = line_of(mapped, source.name, rules, received_at)
    if destination is None:
        return line
    own = conversion_of(mapped, received_at, rules, source.name, net_of_tax=destination.net_of_tax)
    return line | ({"request": None} if own is None else request_to(destination, own, own.key, received_at))


def line_of(mapped: Mapped | str, source: str, rules: Rules, received_at: datetime) -> dict[str, Any]:
    """The same of a body that is mapped already; a text says why it cannot be read."""
    if isinstance(mapped, str):
        blank: dict[str, Any] = {"event_id": None, "event_type": None, "dedupe_keys": [], "payload": None}
        return {"outcome": "rejected", "reason": mapped, **blank}
    outcome, reason = mapped.outcome, mapped.reason
    facts = conversion_of(mapped, received_at, rules, source, net_of_tax=rules.net_of_tax)
    if facts is None and outcome in ("sale", "lead"):
        outcome, reason = "parked", NOBODY
    return {
        "outcome": outcome,
        "reason": reason,
        "event_id": mapped.event_id,
        "event_type": mapped.event_type,
        "dedupe_keys": [dedupe_key(source, mapped, key) for key in mapped.keys],
        "payload": Events().body(facts).fields if facts else None,
    }


def conversion_of(
    mapped: Mapped | str, received_at: datetime, rules: Rules, source: str, *, net_of_tax: bool = False
) -> Facts | None:
    """The facts of a body that is a conversion, by itself; None of any other."""
    if isinstance(mapped, str) or mapped.outcome not in ("sale", "lead"):
        return None
    return facts_of(mapped, received_at, rules, source, net_of_tax=net_of_tax)
