"""Typeform.

Signing: https://www.typeform.com/developers/webhooks/secure-your-webhooks/
Payload: https://www.typeform.com/developers/webhooks/example-payload/
"""

from collections.abc import Iterator
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

NAME = "typeform"
REDELIVER = "Typeform has no manual resend. It retries a refused request seven times within half a day."
SCHEME = HmacScheme(header="Typeform-Signature", prefix="sha256=", encoding="base64")

DEEPEST = 3
TYPES: dict[str, FieldType] = {"text": "text", "email": "email", "phone_number": "phone"}
SUBFIELDS: dict[str, FieldType] = {
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "email",
    "phone_number": "phone",
    "company": "other",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    response = dict_of(raw.get("form_response"))
    definition = dict_of(response.get("definition"))
    event = event_name_of(raw.get("event_type"))
    view = Submission(
        event=event,
        submission_id=identifier_of(response.get("token")),
        body=inbound.body,
        event_id=identifier_of(raw.get("event_id")),
        occurred_at=from_iso(response.get("submitted_at")),
        fields=tuple(_fields(response, definition)),
        hidden=dict_of(response.get("hidden")),
        fallback=_payer(response),
        form=title_of(definition.get("title"), response.get("form_id")),
    )
    if event == "form_response_partial":
        return ignored(view, "a partial response: it was not submitted", rules)
    if event and event != "form_response":
        return ignored(view, f"{event} is not a submission", rules)
    if not event:
        return parked(NAME, view, rules, "it has no event_type")
    if not view.submission_id:
        return parked(
            NAME, view, rules, "it has no form_response.token, so it could not be counted once", lacks=("id",)
        )
    return lead(NAME, view, rules)


def _fields(response: dict[str, Any], definition: dict[str, Any]) -> Iterator[Field]:
    """The answers, with the titles of their questions where the definition (which may be empty) has them."""
    questions: dict[str, dict[str, Any]] = {}
    for question in _questions(definition):
        for name in (question.get("id"), question.get("ref")):
            if isinstance(name, str):
                questions.setdefault(name, question)
    for answer in map(dict_of, list_of(response.get("answers"))):
        asked = dict_of(answer.get("field"))
        kind, own_id, ref = text_of(answer.get("type")) or "", text_of(asked.get("id")), text_of(asked.get("ref"))
        question = questions.get(own_id or "") or questions.get(ref or "") or {}
        declared = SUBFIELDS.get(text_of(question.get("subfield_key")) or "")
        yield Field(
            id=own_id or "",
            key=ref or text_of(question.get("ref")) or "",
            label=text_of(question.get("title")) or "",
            type=declared or TYPES.get(kind, "other"),
            value=answer.get(kind),
        )


def _questions(definition: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    """All questions, those inside groups and contact blocks too, and contact blocks inside groups."""
    for question in map(dict_of, list_of(definition.get("fields"))):
        yield question
        if depth < DEEPEST:
            yield from _questions(dict_of(question.get("properties")), depth + 1)


def _payer(response: dict[str, Any]) -> Contact:
    payments = (dict_of(dict_of(answer).get("payment")) for answer in list_of(response.get("answers")))
    return Contact(name=next((payment["name"] for payment in payments if payment.get("name")), None))


VECTORS = (
    Vector(
        body=b'{"event_type":"form_response"}',
        headers={"typeform-signature": "sha256=QD7ujLSixV5Y7tZ5LRhsKOxWxbu0Erli36dDAAgfMeQ="},
        secret="typeform-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://www.typeform.com/developers/webhooks/secure-your-webhooks/, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Typeform",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(redeliver=REDELIVER, is_secret_chosen=True),
)
