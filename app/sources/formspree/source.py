"""Formspree.

https://help.formspree.io/hc/en-us/articles/360015234873 (webhook plugin).
"""

from typing import Any

from app.model import Inbound
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from, get
from app.sources.forms.tool import form_tool
from app.sources.parse import body_hash, from_iso, identifier_of
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, title_of

SCHEME = HmacScheme(header="Formspree-Signature", pairs=("t", "v1"), template="{t}.{body}")


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    answers = dict_of(raw.get("submission")) or raw
    return Submission(
        event="submission",
        submission_id=identifier_of(get(answers, "_id", "id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(answers, "_date")),
        fields=fields_from(answers, skip=frozenset({"_id", "_date", "form", "keys"})),
        form=title_of(raw.get("form")),
    )


VECTORS = (
    Vector(
        body=b'{"form":"f1"}',
        headers={
            "formspree-signature": "t=1700000000,v1=2a0ea0df40565a86b74fddb48ef71db9dc953fb2dfa100c63dfccad66fb55188"
        },
        secret="formspree-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://help.formspree.io/hc/en-us/articles/360015234873, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = form_tool("formspree", "Formspree", SCHEME, see, vectors=VECTORS)
