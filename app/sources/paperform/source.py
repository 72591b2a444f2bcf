"""Paperform.

https://paperform.co/help/articles/webhooks/: created_at is UTC and says no zone.
"""

from typing import Any

from app.model import Inbound
from app.sources.forms.generic_form import fields_from
from app.sources.forms.tool import form_tool
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.submission import Submission, title_of


def see(raw: dict[str, Any], inbound: Inbound) -> Submission | str:
    values = [text_of(raw.get(key)) or "" for key in ("trigger", "event", "type")]
    if any("partial" in word.casefold() for word in (*values, *(key for key, value in raw.items() if value))):
        return "a partial submission"
    return Submission(
        event="submission",
        submission_id=identifier_of(raw.get("submission_id")),
        body=inbound.body,
        occurred_at=from_iso(raw.get("created_at"), assume_utc=True),
        fields=fields_from({"data": raw.get("data")}),
        form=title_of(raw.get("form_title"), raw.get("form_id")),
    )


SOURCE = form_tool("paperform", "Paperform", None, see)
