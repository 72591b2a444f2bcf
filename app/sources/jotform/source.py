"""Jotform. It signs nothing, so the URL carries a token, which it repeats in the body (`webhookURL`).

Payload: https://www.jotform.com/help/245-how-to-setup-a-webhook-with-jotform/ (multipart/form-data; the answers are JSON
in the field rawRequest, by q<number>_<slug of the label>; `pretty` cannot be parsed reliably).
"""

import re
from collections.abc import Iterator
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of, json_in, read_body
from app.sources.outcomes import lead, parked
from app.sources.parse import identifier_of, text_of
from app.sources.submission import Field, Submission, title_of
from app.sources.webhook import Webhook

NAME = "jotform"
QUESTION = re.compile(r"(q\d{1,6})_(.{1,200})")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = read_body(inbound)
    answers = json_in(raw.get("rawRequest"))
    view = Submission(
        event="submission",
        submission_id=identifier_of(raw.get("submissionID")),
        body=inbound.body,
        fields=tuple(_fields(dict_of(answers))),
        form=title_of(raw.get("formTitle"), raw.get("formID")),
    )
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no submissionID, so it could not be counted once", lacks=("id",))
    if not isinstance(answers, dict):
        return parked(NAME, view, rules, "it has no readable rawRequest, which holds the answers", lacks=("person",))
    return lead(NAME, view, rules)


def _fields(answers: dict[str, Any]) -> Iterator[Field]:
    for name, value in answers.items():
        question = QUESTION.fullmatch(name)
        if question:
            yield Field(id=question[1], key=_slug(question[2]), value=_flatten(value))


def _slug(slug: str) -> str:
    """Jotform writes the question's number behind some slugs: email4, fullName3."""
    return re.sub(r"\d+$", "", slug) or slug


def _flatten(value: Any) -> Any:
    """Values of widgets come as JSON texts at times; what is not {first, last} or a phone stays as it is."""
    text = text_of(value)
    return json_in(text) or value if text and text[0] == "{" else value


SOURCE = Webhook(NAME, "Jotform", None, read)
