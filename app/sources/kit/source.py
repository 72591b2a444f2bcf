"""Kit (formerly ConvertKit): subscribers, and purchases of its older API.

Signing: https://developers.kit.com/webhooks (X-Kit-Signature: t=…,v1=…). Older webhooks are unsigned, and their URL carries a
token.
Payload: the same page: {"events": [1 to 100 of them]}. Older ones: one subscriber, with no name of the event.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import ignored, lead, parked, sale
from app.sources.parse import from_iso, identifier_of, json_object, parse_json, text_of
from app.sources.payment import keys_of, products_in, total_paid
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "kit"
SCHEME = HmacScheme(header="X-Kit-Signature", pairs=("t", "v1"), template="{t}.{body}")
LEADS = ("subscriber.created", "subscriber.activated", "subscriber.form_subscribe", "")
MOST_EVENTS = 100


def split(inbound: Inbound) -> Sequence[Inbound]:
    """One request for each event of the list."""
    try:
        raw = parse_json(inbound.body)
    except MalformedEvent:
        return (inbound,)
    events = [event for event in list_of(dict_of(raw).get("events"))[:MOST_EVENTS] if isinstance(event, dict)]
    if len(events) < 2:
        return (inbound,)
    return [replace(inbound, body=json.dumps({"events": [event]}, separators=(",", ":")).encode()) for event in events]


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    events = list_of(raw.get("events"))
    entry = dict_of(events[0]) if events else raw
    data = dict_of(entry.get("data")) or entry
    subscriber = dict_of(data.get("subscriber")) or dict_of(entry.get("subscriber"))
    event = event_name_of(entry.get("type") or entry.get("name") or entry.get("event"))
    purchase = dict_of(data.get("purchase")) or (data if "transaction_id" in data else {})
    form = dict_of(data.get("form"))
    own_id, form_id = identifier_of(subscriber.get("id")), identifier_of(form.get("id"))
    view = Submission(
        event=event or "subscriber",
        submission_id=f"{own_id}:{form_id}" if own_id and form_id else own_id,
        body=inbound.body,
        event_id=identifier_of(entry.get("id")) if events else None,
        occurred_at=from_iso(entry.get("created_at") if events else purchase.get("transaction_time")),
        hidden=dict_of(subscriber.get("fields")),
        contact=Contact(
            email=subscriber.get("email_address") or purchase.get("email_address"), name=subscriber.get("first_name")
        ),
        form=title_of(form.get("name"), form_id),
    )
    if len(events) > 1:
        return parked(
            NAME, view, rules, f"it holds {len(events)} events, which count one by one when they are received"
        )
    if purchase:
        return _purchase(view, purchase, rules)
    if event not in LEADS:
        return ignored(view, f"{event} is not a subscription", rules)
    if not subscriber:
        return parked(NAME, view, rules, "it has no subscriber", lacks=("person",))
    return lead(NAME, view, rules, event_name="subscribed", reason="somebody subscribed")


def _purchase(view: Submission, purchase: dict[str, Any], rules: Rules) -> Mapped:
    keys = keys_of(purchase.get("transaction_id"), purchase.get("id"))
    if text_of(purchase.get("status")) not in (None, "paid"):
        return ignored(view, "the purchase is not paid", rules, keys=keys)
    money = total_paid(purchase.get("total"), purchase.get("tax"), purchase.get("currency"), "major")
    products = products_in(purchase.get("products"), id="pid", name="name")
    return sale(NAME, view, rules, money, keys=keys, reason="a paid purchase", products=products)


VECTORS = (
    Vector(
        body=b'{"events":[]}',
        headers={
            "x-kit-signature": "t=1700000000,v1=00,v1=4f8174b45cd3bd2d4d989956e4f218e52fb9431158df7a1dfa5d1c437e675edc"
        },
        secret="kit-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://developers.kit.com/webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(NAME, "Kit", SCHEME, read, splits=split, vectors=VECTORS)
