"""HeyForm. It signs nothing, so the URL carries a token.

Payload: https://docs.heyform.net/integrations/webhook (answers by kind, hidden fields by name); it sends no time.
"""

from collections.abc import Iterator
from typing import Any

from app.model import Inbound
from app.sources.bodies import dict_of, list_of
from app.sources.forms.tool import form_tool
from app.sources.parse import identifier_of, text_of
from app.sources.payment import named
from app.sources.submission import Field, FieldType, Submission, title_of

TYPES: dict[str, FieldType] = {
    "email": "email",
    "phone_number": "phone",
    "full_name": "name",
    "short_text": "text",
    "long_text": "text",
}


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    hidden = named(raw.get("hiddenFields"))
    return Submission(
        event="submission",
        submission_id=identifier_of(raw.get("id")),
        body=inbound.body,
        fields=tuple(_answers(raw))
        or tuple(Field(key=key, type="hidden", value=value) for key, value in hidden.items()),
        hidden=hidden,
        form=title_of(raw.get("formName"), raw.get("formId")),
    )


def _answers(raw: dict[str, Any]) -> Iterator[Field]:
    for answer in map(dict_of, list_of(raw.get("answers"))):
        kind = text_of(answer.get("kind")) or ""
        label = text_of(answer.get("title")) or ""
        yield Field(
            id=text_of(answer.get("id")) or "", label=label, type=TYPES.get(kind, "other"), value=answer.get("value")
        )


SOURCE = form_tool("heyform", "HeyForm", None, see)
