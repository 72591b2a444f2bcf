"""Calendly.

Signing: https://developer.calendly.com/api-docs/4c305798a61d3-webhook-signatures
Payload: https://developer.calendly.com/api-docs/5c0a7d9ff1b8d-webhook-payload
"""

from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import from_iso, identifier_of, json_object, text_of
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Field, Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "calendly"
SCHEME = HmacScheme(
    header="Calendly-Webhook-Signature", pairs=("t", "v1"), template="{t}.{body}", tolerance_seconds=180
)

NO_BOOKING = {
    "invitee.canceled": "a cancellation",
    "invitee_no_show.created": "a no-show",
    "invitee_no_show.deleted": "a no-show taken back",
    "routing_form_submission.created": "a routing form: the booking that may follow comes as invitee.created",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    payload = dict_of(raw.get("payload"))
    invitee = dict_of(payload.get("invitee")) or payload  # version 1 of their webhooks nests the invitee
    event = event_name_of(raw.get("event"))
    view = Submission(
        event=event,
        submission_id=identifier_of(invitee.get("uri")) or identifier_of(invitee.get("uuid")),
        body=inbound.body,
        occurred_at=from_iso(invitee.get("created_at")) or from_iso(raw.get("created_at")),
        fields=tuple(_question(dict_of(asked)) for asked in _questions(payload, invitee)),
        hidden=dict_of(payload.get("tracking")) or dict_of(invitee.get("tracking")),
        contact=Contact(
            email=invitee.get("email"),
            name=invitee.get("name"),
            first=invitee.get("first_name"),
            last=invitee.get("last_name"),
            phone=invitee.get("text_reminder_number"),
        ),
        form=title_of(
            dict_of(payload.get("scheduled_event")).get("name"), dict_of(payload.get("event_type")).get("name")
        ),
    )
    if event in NO_BOOKING:
        return ignored(view, NO_BOOKING[event], rules)
    if event and event != "invitee.created":
        return ignored(view, f"{event} is not a booking", rules)
    if not event:
        return parked(NAME, view, rules, "it has no event", event_name="demo_booked")
    if invitee.get("old_invitee") or payload.get("old_invitee") or invitee.get("is_reschedule") is True:
        replaced = identifier_of(invitee.get("old_invitee")) or identifier_of(payload.get("old_invitee"))
        reason = "a reschedule: the booking was counted when it was first made"
        return ignored(view, reason, rules, same_as=(replaced,) if replaced else ())
    if not view.submission_id:
        missing = "it has no payload.uri, so it could not be counted once"
        return parked(NAME, view, rules, missing, event_name="demo_booked", lacks=("id",))
    return lead(NAME, view, rules, event_name="demo_booked", reason="a meeting was booked")


def _questions(payload: dict[str, Any], invitee: dict[str, Any]) -> list[Any]:
    asked = (list_of(place.get("questions_and_answers")) for place in (payload, invitee))
    return next((answers for answers in asked if answers), [])


def _question(asked: dict[str, Any]) -> Field:
    return Field(label=text_of(asked.get("question")) or "", value=asked.get("answer"))


VECTORS = (
    Vector(
        body=b'{"event":"invitee.created"}',
        headers={
            "calendly-webhook-signature": "t=1700000000,v1=b3f81dce7d2957c88c473785f54efa68b60025a8f5fb29704e58d280fcef1faf"
        },
        secret="calendly-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://developer.calendly.com/api-docs/4c305798a61d3-webhook-signatures, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Calendly",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(is_secret_chosen=True),
)
