"""Formbricks.

Signing: https://formbricks.com/docs/xm-and-surveys/core-features/integrations/webhooks (Standard Webhooks)
Payload: the same page. A question of type "contact info" is the list [first, last, e-mail, phone, company].
"""

from collections.abc import Iterator
from typing import Any

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import get
from app.sources.forms.person_fields import phone_of
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import email_of, from_iso, identifier_of, json_object, page_parameters, parse_json
from app.sources.set_up import SetUp
from app.sources.signatures import published_vector, standard_webhooks
from app.sources.submission import Contact, Field, Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "formbricks"
SCHEME = standard_webhooks("webhook")
LONGEST_TEST = 200

NO_RESPONSE = {
    "testEndpoint": "a test from the webhook's page",
    "responseCreated": "a response that was begun: responseFinished follows",
    "responseUpdated": "a response in progress: responseFinished follows",
}


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    response = dict_of(raw.get("data"))
    survey, meta = dict_of(response.get("survey")), dict_of(response.get("meta"))
    contact = dict_of(response.get("contact")) or dict_of(response.get("person"))  # "person" up to version 2
    attributes = next(
        (
            group
            for value in (
                response.get("contactAttributes"),
                response.get("personAttributes"),
                contact.get("attributes"),
            )
            if (group := dict_of(value))
        ),
        {},
    )
    answers, event = dict_of(response.get("data")), event_name_of(raw.get("event"))
    view = Submission(
        event=event,
        submission_id=identifier_of(response.get("id")),
        body=inbound.body,
        occurred_at=from_iso(response.get("updatedAt")) or from_iso(response.get("createdAt")),
        fields=tuple(_fields(answers)),
        hidden={
            **({"userId": contact["userId"]} if contact.get("userId") else {}),
            **attributes,
            **_scalars(answers),
        },
        page=page_parameters(meta.get("url")),
        fallback=Contact(
            email=get(attributes, "email"),
            first=get(attributes, "firstname", "first_name"),
            last=get(attributes, "lastname", "last_name"),
            phone=get(attributes, "phone"),
        ),
        form=title_of(survey.get("title"), survey.get("name"), response.get("surveyId")),
    )
    if event in NO_RESPONSE:
        return ignored(view, NO_RESPONSE[event], rules)
    if event and event != "responseFinished":
        return ignored(view, f"{event} is not a response", rules)
    if not event:
        return parked(NAME, view, rules, "it has no event")
    if response.get("finished") is False:
        return ignored(view, "a partial response: it was not finished", rules)
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no data.id, so it could not be counted once", lacks=("id",))
    return lead(NAME, view, rules)


def _scalars(answers: dict[str, Any]) -> dict[str, Any]:
    """Hidden fields lie among the answers, by their name; answers of questions lie there by the question's id."""
    return {key: value for key, value in answers.items() if isinstance(value, str | int | float)}


def _fields(answers: dict[str, Any]) -> Iterator[Field]:
    for key, value in answers.items():
        if not isinstance(value, list):
            yield Field(id=key, key=key, value=value)
        elif _is_contact(value):
            first, last, email, phone, _ = value
            yield Field(id=key, type="first_name", value=first)
            yield Field(id=key, type="last_name", value=last)
            yield Field(id=key, type="email", value=email)
            yield Field(id=key, type="phone", value=phone)


def _is_contact(value: list[Any]) -> bool:
    if len(value) != 5 or not all(item is None or isinstance(item, str) for item in value):
        return False
    email, phone = value[2], value[3]
    return (not email or email_of(email) is not None) and (not phone or phone_of(phone) is not None)


def is_test_of_the_endpoint(inbound: Inbound) -> str | None:
    """Formbricks posts {"event": "testEndpoint"} before it saves a webhook, signed with a secret that it shows only afterwards."""
    if len(inbound.body) > LONGEST_TEST:
        return None
    try:
        is_test = parse_json(inbound.body) == {"event": "testEndpoint"}
    except MalformedEvent:
        return None
    return NO_RESPONSE["testEndpoint"] if is_test else None


VECTORS = (published_vector("webhook"),)

SOURCE = Webhook(
    NAME,
    "Formbricks",
    SCHEME,
    read,
    pings=is_test_of_the_endpoint,
    is_tested_before_setup=True,
    vectors=VECTORS,
    set_up=SetUp(usual_prefixes=("whsec_",)),
)
