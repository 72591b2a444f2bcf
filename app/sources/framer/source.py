"""Framer.

https://www.framer.com/help/articles/framer-form-webhook-setup: the inputs' names as keys, the id in a header.
"""

from typing import Any

from app.model import Inbound
from app.sources.base import Vector
from app.sources.forms.generic_form import fields_from
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, identifier_of
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission

SCHEME = HmacScheme(
    header="Framer-Signature", prefix="sha256=", template="{body}{id}", id_header="Framer-Webhook-Submission-Id"
)


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    return Submission(
        event="submission",
        submission_id=identifier_of(inbound.headers.get("framer-webhook-submission-id")) or body_hash(inbound.body),
        body=inbound.body,
        fields=fields_from(raw),
    )


VECTORS = (
    Vector(
        body=b'{"email":"ada@example.com"}',
        headers={
            "framer-webhook-submission-id": "sub_1",
            "framer-signature": "sha256=ceb604d434130be2c9ae3dc3562ee7c9196741edc40f11f529b79f8d258dc350",
        },
        secret="framer-vector-secret-of-32-letters",  # noqa: S106 (of the vector)
        origin="formula: https://www.framer.com/help/articles/framer-form-webhook-setup, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = form_tool("framer", "Framer", SCHEME, see, vectors=VECTORS)
