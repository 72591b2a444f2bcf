"""Basin.

https://docs.usebasin.com/integrations/webhooks: plain, wrapped in "data", or a form, or a form in "data".
"""

from typing import Any

from app.errors import MalformedEvent
from app.model import Inbound
from app.sources.base import Vector
from app.sources.bodies import dict_of, form_pairs, nested
from app.sources.forms.generic_form import fields_from, get
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, from_iso, identifier_of, page_parameters
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, title_of

SCHEME = HmacScheme(header="X-Basin-Signature", prefix="sha256=")


def see(raw: dict[str, Any], inbound: Inbound) -> Submission | str:
    data = raw.get("data")
    if isinstance(data, str) and "=" in data:
        try:
            answers = nested(form_pairs(data.encode("utf-8", "replace")))
        except MalformedEvent:
            answers = raw
    else:
        answers = dict_of(data) or raw
    if str(get(answers, "spam", "is_spam")).casefold() == "true":
        return "Basin marked it as spam"
    return Submission(
        event="submission",
        submission_id=next(
            (identity for values in (answers, raw) if (identity := identifier_of(get(values, "id", "submission_id")))),
            body_hash(inbound.body),
        ),
        body=inbound.body,
        occurred_at=from_iso(get(answers, "created_at")) or from_iso(get(raw, "created_at")),
        fields=fields_from(answers, skip=frozenset({"id", "attachments", "spam"})),
        page=page_parameters(get(answers, "source_url", "referrer")),
        form=title_of(get(answers, "form_name", "form_id")),
    )


VECTORS = (
    Vector(
        body=b'{"id":1}',
        headers={"x-basin-signature": "sha256=7d69d1c00e0662b9672888aa06a1c34f5e6ed6ad886687db428c839be3e6e89e"},
        secret="basin-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://usebasin.com/changelog (24 February 2026), computed with openssl",
        at=1700000000,
    ),
)

SOURCE = form_tool("basin", "Basin", SCHEME, see, vectors=VECTORS, is_secret_chosen=False)
