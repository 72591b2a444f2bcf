"""Google Forms.

docs/sources.md has the Apps Script that sends and signs this; namedValues is the shape of the trigger's event:
https://developers.google.com/apps-script/guides/triggers/events#google_forms_events.
"""

from typing import Any

from app.model import Inbound
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from, get
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, from_unix_or_iso, identifier_of
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, title_of

SCHEME = HmacScheme(header="X-Bridge-Signature", pairs=("t", "v1"), template="{t}.{body}")


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    answers = next((found for key in ("namedValues", "answers", "responses") if (found := raw.get(key))), None)
    return Submission(
        event="submission",
        submission_id=identifier_of(get(raw, "responseid", "response_id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_unix_or_iso(get(raw, "timestamp", "lastsubmittedtime", "submittedat", "submitted_at")),
        fields=fields_from({"answers": answers} if isinstance(answers, list) else dict_of(answers)),
        contact=Contact(email=raw.get("respondentEmail")),
        form=title_of(raw.get("formTitle"), raw.get("formId")),
    )


VECTORS = (
    Vector(
        body=b'{"responseId":"r1"}',
        headers={
            "x-bridge-signature": "t=1700000000,v1=e30968471f4762a69eaf29a864227d3983c03a397d77cb79cfdea5e4325ee9dd"
        },
        secret="googleforms-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: the Apps Script of docs/sources.md, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = form_tool("googleforms", "Google Forms", SCHEME, see, vectors=VECTORS)
