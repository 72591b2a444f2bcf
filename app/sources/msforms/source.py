"""Microsoft Forms, by a flow of Power Automate. It signs nothing, so the URL carries a token.

docs/sources.md has the flow: Forms has no webhook, and the flow's HTTP action sends what it is set to.
"""

from typing import Any

from app.model import Inbound
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from, get
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, from_iso, identifier_of
from app.sources.submission import Contact, Submission, title_of

OF_THE_RESPONSE = frozenset(
    {"responseid", "response_id", "submitdate", "submit_date", "responder", "formtitle", "form_title"}
)


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    answers = dict_of(raw.get("answers")) or raw
    return Submission(
        event="submission",
        submission_id=identifier_of(get(raw, "responseid", "response_id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(raw, "submitdate", "submit_date")),
        fields=fields_from(answers, skip=OF_THE_RESPONSE),
        fallback=Contact(email=get(raw, "responder")),
        form=title_of(get(raw, "formtitle", "form_title")),
    )


SOURCE = form_tool("msforms", "Microsoft Forms", None, see)
