"""Tally.

Signing and payload: https://tally.so/help/webhooks
"""

from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import from_iso, identifier_of, json_object, text_of
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Field, FieldType, Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "tally"
REDELIVER = (
    "Tally retries five times within two days. Its API resends one event: `POST /webhooks/<webhook>/events/<event>`."
)
SCHEME = HmacScheme(header="Tally-Signature", encoding="base64")

TYPES: dict[str, FieldType] = {
    "INPUT_EMAIL": "email",
    "INPUT_PHONE_NUMBER": "phone",
    "INPUT_TEXT": "text",
    "TEXTAREA": "text",
    "HIDDEN_FIELDS": "hidden",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    data = dict_of(raw.get("data"))
    event = event_name_of(raw.get("eventType"))
    answers = [dict_of(field) for field in list_of(data.get("fields"))]
    view = Submission(
        event=event,
        submission_id=identifier_of(data.get("submissionId")) or identifier_of(data.get("responseId")),
        body=inbound.body,
        event_id=identifier_of(raw.get("eventId")),
        occurred_at=from_iso(data.get("createdAt")) or from_iso(raw.get("createdAt")),
        fields=tuple(_field(answer) for answer in answers if answer.get("type") != "HIDDEN_FIELDS"),
        hidden=_hidden(answers),
        fallback=_payer(answers),
        form=title_of(data.get("formName"), data.get("formId")),
    )
    if event and event != "FORM_RESPONSE":
        return ignored(view, f"{event} is not a submission", rules)
    if not event:
        return parked(NAME, view, rules, "it has no eventType")
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no data.submissionId, so it could not be counted once", lacks=("id",))
    return lead(NAME, view, rules)


def _field(answer: dict[str, Any]) -> Field:
    return Field(
        key=text_of(answer.get("key")) or "",
        label=text_of(answer.get("label")) or "",
        type=TYPES.get(text_of(answer.get("type")) or "INPUT_TEXT", "other"),
        value=answer.get("value"),
    )


def _hidden(answers: list[dict[str, Any]]) -> dict[str, Any]:
    hidden: dict[str, Any] = {}
    for answer in answers:
        label = text_of(answer.get("label"))
        if answer.get("type") == "HIDDEN_FIELDS" and label:
            hidden.setdefault(label, answer.get("value"))
    return hidden


def _payer(answers: list[dict[str, Any]]) -> Contact:
    """A payment block comes as several fields: question_x_price, question_x_name, question_x_email."""
    paid = {
        (text_of(answer.get("key")) or "").rsplit("_", 1)[-1]: answer.get("value")
        for answer in answers
        if answer.get("type") == "PAYMENT"
    }
    return Contact(name=paid.get("name"), email=paid.get("email"))


VECTORS = (
    Vector(
        body=b'{"eventType":"FORM_RESPONSE"}',
        headers={"tally-signature": "TYCbbDNf7gJvK5LlMT+VWXZRu855bTGXM9hYp7+WQII="},
        secret="tally-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://tally.so/help/webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Tally",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(redeliver=REDELIVER, is_secret_chosen=True),
)
