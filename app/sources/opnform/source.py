"""OpnForm.

https://docs.opnform.com (webhooks): "data" by field id; "submission", by label, is older. The id is only there for
forms whose submissions can be edited.
"""

from typing import Any

from app.model import Inbound
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from, get
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, from_iso, identifier_of, page_parameters
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, title_of

SCHEME = HmacScheme(header="X-Webhook-Signature", prefix="sha256=")


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    link = page_parameters(raw.get("edit_link"))
    return Submission(
        event="submission",
        submission_id=identifier_of(raw.get("submission_id") or link.get("submission_id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(raw, "submitted_at", "created_at")),
        fields=fields_from(dict_of(raw.get("data")) or dict_of(raw.get("submission"))),
        form=title_of(raw.get("form_title"), raw.get("form_slug")),
    )


VECTORS = (
    Vector(
        body=b'{"form_slug":"f1"}',
        headers={"x-webhook-signature": "sha256=bb07b742a1333d1e53aa7e7ccf16d32ed26370d26b604a7a14063fe923f99b3d"},
        secret="opnform-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: JhumanJ/OpnForm, WebhookHandler, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = form_tool("opnform", "OpnForm", SCHEME, see, vectors=VECTORS)
