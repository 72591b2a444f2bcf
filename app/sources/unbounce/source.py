"""Unbounce. It signs nothing, so the URL carries a token.

Payload: https://documentation.unbounce.com/hc/en-us/articles/203510044 (form-encoded; data.json holds the answers as JSON,
each in a
list). It sends no id, and times to the minute, so a submission is known by its bytes and dated when it came.
"""

from typing import Any

from app.model import Inbound
from app.sources.bodies import dict_of, json_in
from app.sources.forms.generic_form import fields_from
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, page_parameters
from app.sources.submission import Submission, title_of

OF_THE_PAGE = frozenset(
    {
        "page_name",
        "page_url",
        "page_id",
        "page_uuid",
        "variant",
        "data.json",
        "data.xml",
        "ip_address",
        "date_submitted",
        "time_submitted",
    }
)


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    answers = dict_of(json_in(raw.get("data.json"))) or dict_of(json_in(raw.get("data_json")))
    return Submission(
        event="submission",
        submission_id=body_hash(inbound.body),
        body=inbound.body,
        fields=fields_from({**raw, **answers}, skip=OF_THE_PAGE),
        page=page_parameters(raw.get("page_url")),
        form=title_of(raw.get("page_name"), raw.get("page_id") or raw.get("page_uuid")),
    )


SOURCE = form_tool("unbounce", "Unbounce", None, see)
