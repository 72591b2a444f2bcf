"""Cognito Forms.

https://www.cognitoforms.com/support/66/data-integration/webhooks.
"""

from typing import Any

from app.model import Inbound
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from
from app.sources.forms.tool import form_tool
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.submission import Submission, title_of


def see(raw: dict[str, Any], inbound: Inbound) -> Submission | str:
    form, entry = dict_of(raw.get("Form")), dict_of(raw.get("Entry"))
    if (text_of(entry.get("Status")) or "").casefold() in ("incomplete", "saved", "draft"):
        return "a partial entry: it was saved and not submitted"
    if (text_of(entry.get("Action")) or "").casefold() in ("update", "delete"):
        return "a changed or deleted entry: it was counted when it was submitted"
    numbers = [text_of(form.get("Id")), text_of(entry.get("Number"))]
    return Submission(
        event="submission",
        submission_id=identifier_of(raw.get("Id"))
        or (identifier_of("-".join(map(str, numbers))) if all(numbers) else None),
        body=inbound.body,
        occurred_at=from_iso(entry.get("DateSubmitted")) or from_iso(entry.get("DateCreated")),
        fields=fields_from(raw, skip=frozenset({"form", "entry", "id"})),
        form=title_of(form.get("Name"), form.get("InternalName"), form.get("Id")),
    )


SOURCE = form_tool("cognitoforms", "Cognito Forms", None, see)
