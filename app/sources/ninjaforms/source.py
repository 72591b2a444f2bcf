"""Ninja Forms' add-on Webhooks. It signs nothing, so the URL carries a token.

Payload: https://ninjaforms.com/docs/webhooks/ (form-encoded by chosen keys, JSON, or one field that holds JSON).
"""

from typing import Any

from app.model import Inbound
from app.sources.bodies import json_in
from app.sources.forms.generic_form import fields_from, get, page_parameters
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, identifier_of
from app.sources.submission import Submission, title_of


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    inside = [json_in(value) for value in raw.values() if isinstance(value, str) and value[:1] == "{"]
    opened = {key: value for one in inside[:5] if isinstance(one, dict) for key, value in one.items()}
    fields = {
        **{key: value for key, value in raw.items() if not (isinstance(value, str) and value[:1] == "{")},
        **opened,
    }
    return Submission(
        event="submission",
        submission_id=identifier_of(get(fields, "submission_id", "sub_id", "entry_id")) or body_hash(inbound.body),
        body=inbound.body,
        fields=fields_from(fields),
        page=page_parameters(get(fields, "page_url", "referer")),
        form=title_of(get(fields, "form_title", "form_name"), get(fields, "form_id")),
    )


SOURCE = form_tool("ninjaforms", "Ninja Forms", None, see)
