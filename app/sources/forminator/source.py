"""Forminator. It signs nothing, so the URL carries a token.

Payload: https://wpmudev.com/docs/wpmu-dev-plugins/forminator/#webhook (JSON by element: email_1, name_1, hidden_1). A sample
with the
header X-Hook-Test comes when the webhook is saved.
"""

import re
from collections.abc import Iterator
from typing import Any

from app.model import Inbound
from app.sources.forms.generic_form import get
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash
from app.sources.submission import Field, FieldType, Submission, title_of

ELEMENT = re.compile(
    r"(email|name|phone|hidden|text|textarea|url|number|select|radio|checkbox|date|upload)[_-]\d+(?:[_-](.+))?"
)
TYPES: dict[str, FieldType] = {
    "email": "email",
    "phone": "phone",
    "name": "name",
    "hidden": "hidden",
    "text": "text",
    "textarea": "text",
}
PARTS: dict[str, FieldType] = {"first_name": "first_name", "last_name": "last_name"}


def see(raw: dict[str, Any], inbound: Inbound) -> Submission | str:
    if inbound.headers.get("x-hook-test", "").casefold() == "true":
        return "the sample that comes when the webhook is saved"
    return Submission(
        event="submission",
        submission_id=body_hash(inbound.body),
        body=inbound.body,
        fields=tuple(_fields(raw)),
        form=title_of(get(raw, "form_title", "form_name")),
    )


def _fields(raw: dict[str, Any]) -> Iterator[Field]:
    for key, value in raw.items():
        element = ELEMENT.fullmatch(key.replace("-", "_"))
        part = PARTS.get(element[2] or "") if element else None
        kind: FieldType = part or (TYPES.get(element[1], "other") if element else "text")
        if element and element[1] == "name" and element[2] and not part:
            kind = "other"  # prefix and middle name
        if key not in ("form_title", "entry_time"):
            yield Field(id=key, key=key, type=kind, value=value)


SOURCE = form_tool("forminator", "Forminator", None, see)
