"""Fluent Forms Pro. It signs nothing, so the URL carries a token.

Payload: https://fluentforms.com/docs/webhook-integration/ (form-encoded or JSON; all fields, or chosen keys). Times are the
site's own.
"""

from typing import Any

from app.model import Inbound
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from, page_parameters
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, identifier_of
from app.sources.submission import Contact, Submission, title_of

OF_THE_ENTRY = frozenset(
    {"__submission", "__order_items", "__transactions", "_wp_http_referer", "__fluent_form_embded_post_id"}
)


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    entry = dict_of(raw.get("__submission"))
    return Submission(
        event="submission",
        submission_id=identifier_of(entry.get("id")) or body_hash(inbound.body),
        body=inbound.body,
        fields=fields_from(raw, skip=OF_THE_ENTRY),
        contact=Contact(name=raw.get("names")),
        page=page_parameters(entry.get("source_url")),
        form=title_of(entry.get("form_title"), entry.get("form_id")),
    )


SOURCE = form_tool("fluentforms", "Fluent Forms", None, see)
