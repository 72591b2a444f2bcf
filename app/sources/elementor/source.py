"""Elementor Pro's form action "Webhook". It signs nothing, so the URL carries a token, and sends no id and no zone of its
times, so a submission is known by its bytes and dated when it came.

Payload: https://elementor.com/help/form-actions/ (form-encoded; "Advanced Data": fields[x][value] with declared types, else
the labels as keys).
"""

from collections.abc import Iterator
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of, read_body
from app.sources.forms.generic_form import declared, fields_from, get
from app.sources.forms.labels import words
from app.sources.outcomes import lead, parked
from app.sources.parse import body_hash, identifier_of, page_parameters, text_of
from app.sources.submission import Field, Submission, title_of
from app.sources.webhook import Webhook

NAME = "elementor"
OF_THE_REQUEST = words("form meta date time page_url user_agent remote_ip powered_by form_id form_name")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = read_body(inbound)
    form, advanced = dict_of(raw.get("form")), dict_of(raw.get("fields"))
    page = dict_of(dict_of(raw.get("meta")).get("page_url")).get("value") or get(raw, "page_url")
    view = Submission(
        event="submission",
        submission_id=body_hash(inbound.body),
        body=inbound.body,
        fields=tuple(_advanced(advanced)) if advanced else fields_from(raw, skip=OF_THE_REQUEST),
        page=page_parameters(page),
        form=title_of(form.get("name"), get(raw, "form_name"), form.get("id"), get(raw, "form_id")),
        account=identifier_of(form.get("id")) or identifier_of(get(raw, "form_id")),
    )
    if not view.fields:
        return parked(NAME, view, rules, "it holds no fields", lacks=("person",))
    return lead(NAME, view, rules)


def _advanced(fields: dict[str, Any]) -> Iterator[Field]:
    for name, field in fields.items():
        if isinstance(field, dict):
            value = field.get("value", field.get("raw_value"))
            label = text_of(field.get("title")) or ""
            yield Field(id=name, key=name, label=label, type=declared(field.get("type")), value=value)
        else:
            yield Field(id=name, key=name, value=field)


SOURCE = Webhook(NAME, "Elementor", None, read)
