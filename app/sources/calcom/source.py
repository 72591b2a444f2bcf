"""Cal.com.

Signing and payload: https://cal.com/docs/developing/guides/automation/webhooks
"""

from collections.abc import Iterator
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.forms.generic_form import fields_from
from app.sources.forms.labels import words
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import body_hash, email_of, from_iso, identifier_of, json_object, text_of
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Field, FieldType, Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "calcom"
SCHEME = HmacScheme(header="X-Cal-Signature-256")

NO_BOOKING = {
    "PING": "a test ping",
    "BOOKING_RESCHEDULED": "a reschedule: the booking was counted when it was first made",
    "BOOKING_CANCELLED": "a cancellation",
    "BOOKING_REJECTED": "a rejected booking",
    "BOOKING_REQUESTED": "a request: BOOKING_CREATED follows when it is confirmed",
    "BOOKING_NO_SHOW_UPDATED": "a no-show",
    "FORM_SUBMITTED_NO_EVENT": "a routing form that was counted as FORM_SUBMITTED",
}
OF_THE_FORM = words("triggerEvent createdAt payload formId formName teamId responseId redirect responses")
BUILT_IN: dict[str, FieldType] = {
    "name": "name",
    "email": "email",
    "attendeePhoneNumber": "phone",
    "smsReminderNumber": "phone",
    "location": "other",
    "guests": "other",
    "title": "other",
    "notes": "other",
    "rescheduleReason": "other",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    payload = dict_of(raw.get("payload"))
    event = event_name_of(raw.get("triggerEvent"))
    if event == "FORM_SUBMITTED":
        return _routing_form(inbound, rules, raw, payload, event)
    attendee = next(map(dict_of, list_of(payload.get("attendees"))), {})
    recurring = identifier_of(payload.get("recurringEventId"))
    view = Submission(
        event=event,
        submission_id=_booking_id(payload),
        other_ids=(f"recurring:{recurring}",) if recurring else (),
        body=inbound.body,
        occurred_at=from_iso(raw.get("createdAt")),
        fields=tuple(_fields(payload)),
        hidden=dict_of(payload.get("metadata")),
        fallback=Contact(
            email=_real_address(attendee.get("email")),
            name=attendee.get("name"),
            first=attendee.get("firstName"),
            last=attendee.get("lastName"),
            phone=attendee.get("phoneNumber"),
        ),
        form=title_of(payload.get("eventTitle"), payload.get("type")),
    )
    replaced = _replaced_booking(payload)
    if event in NO_BOOKING:
        return ignored(view, NO_BOOKING[event], rules, same_as=replaced)
    if event and event != "BOOKING_CREATED":
        return ignored(view, f"{event} is not a booking", rules, same_as=replaced)
    if not event:
        missing = "it has no triggerEvent: a custom payload template must keep it"
        return parked(NAME, view, rules, missing, event_name="demo_booked")
    if payload.get("rescheduleUid"):
        return ignored(view, NO_BOOKING["BOOKING_RESCHEDULED"], rules, same_as=replaced)
    if not view.submission_id:
        missing = "it has no payload.uid, so it could not be counted once"
        return parked(NAME, view, rules, missing, event_name="demo_booked", lacks=("id",))
    return lead(NAME, view, rules, event_name="demo_booked", reason="a meeting was booked")


def _booking_id(payload: dict[str, Any], name: str = "uid") -> str | None:
    """A booking's uid; with seats, several attendees share it, and each has a seat of its own."""
    uid, seat = identifier_of(payload.get(name)), identifier_of(payload.get("attendeeSeatId"))
    return f"{uid}:{seat}" if uid and seat and len(uid) + len(seat) < 255 else uid


def _replaced_booking(payload: dict[str, Any]) -> tuple[str, ...]:
    """The booking that this one is instead of. Where a reschedule needs to be confirmed only its request says so: the
    BOOKING_CREATED that follows has the new uid alone."""
    replaced = _booking_id(payload, "rescheduleUid")
    return (replaced,) if replaced and replaced != _booking_id(payload) else ()


def _fields(payload: dict[str, Any]) -> Iterator[Field]:
    seen: set[str] = set()
    for name in ("responses", "userFieldsResponses"):
        for key, answer in dict_of(payload.get(name)).items():
            value = answer.get("value") if isinstance(answer, dict) else answer
            if key in seen or value in (None, ""):
                continue
            seen.add(key)
            label = text_of(answer.get("label")) if isinstance(answer, dict) else None
            kind = BUILT_IN.get(key, "text")
            own = label if kind == "text" else None  # labels of built-in questions are translation keys: your_name
            yield Field(
                id=key, key=key, label=own or "", type=kind, value=_real_address(value) if key == "email" else value
            )
    yield from fields_from(dict_of(payload.get("customInputs")))


def _real_address(value: Any) -> Any:
    """Bookings by phone alone carry an address that Cal.com makes up: 442079460958@sms.cal.com."""
    email = email_of(value)
    return None if email and email.casefold().endswith("@sms.cal.com") else value


def _routing_form(inbound: Inbound, rules: Rules, raw: dict[str, Any], payload: dict[str, Any], event: str) -> Mapped:
    body = payload or raw
    answers = dict_of(body.get("responses")) or {  # older versions put the answers beside the rest
        key: answer for key, answer in {**raw, **payload}.items() if key not in OF_THE_FORM
    }
    view = Submission(
        event=event,
        submission_id=next(
            (
                identity
                for key in ("responseId", "formResponseId", "uuid", "id")
                if (identity := identifier_of(body.get(key)))
            ),
            body_hash(inbound.body),  # most versions send no id of the response; repeats have the same bytes
        ),
        body=inbound.body,
        occurred_at=from_iso(raw.get("createdAt")),
        fields=tuple(Field(key=key, value=_answer(answer)) for key, answer in answers.items()),
        form=title_of(body.get("formName"), body.get("formId")),
    )
    return lead(NAME, view, rules)


def _answer(answer: Any) -> Any:
    """An answer is {value, response}, of which "value" is on its way out, or the bare value."""
    if not isinstance(answer, dict):
        return answer
    return next((value for key in ("value", "response") if (value := answer.get(key)) not in (None, "", [])), None)


VECTORS = (
    Vector(
        body=b'{"triggerEvent":"PING"}',
        headers={"x-cal-signature-256": "ae287a7d970abead5357d92dcdd3ab07d448ab7e166bb09405a7c45e9287f82d"},
        secret="calcom-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://cal.com/docs/developing/guides/automation/webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Cal.com",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(is_secret_chosen=True),
)
