"""Formstack.

https://developers.formstack.com/docs/webhook-setup: names come as "first = John", a new line, "last = Smith".
"""

from typing import Any

from app.model import Inbound
from app.sources.base import Vector
from app.sources.forms.generic_form import fields_from
from app.sources.forms.tool import form_tool
from app.sources.handshake import Handshake
from app.sources.parse import identifier_of
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, title_of

SCHEME = Handshake(hmac=HmacScheme(header="X-FS-Signature", prefix="sha256="))


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    return Submission(
        event="submission",
        submission_id=identifier_of(raw.get("UniqueID")),
        body=inbound.body,
        fields=fields_from(
            {key: _formstack_value(value) for key, value in raw.items()},
            skip=frozenset({"formid", "uniqueid", "handshakekey"}),
        ),
        form=title_of(raw.get("FormName"), raw.get("FormID")),
        account=identifier_of(raw.get("FormID")),
    )


def _formstack_value(value: Any) -> Any:
    """The parts of a value, which in a form are lines of "part = text"; with "include field type" on, field_type is one."""
    parts = value
    if isinstance(value, str) and " = " in value:
        parts = dict(line.split(" = ", 1) for line in value.splitlines() if " = " in line)
    if not isinstance(parts, dict):
        return value
    if parts.keys() & {"first", "last"}:
        return {"first": parts.get("first"), "last": parts.get("last")}
    return parts if {"value", "field_type"} <= parts.keys() else value


VECTORS = (
    Vector(
        body=b"FormID=1&UniqueID=2",
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "x-fs-signature": "sha256=7490cf777350700faec5b299a5659814327acabed0f72f78843156af35298601",
        },
        secret="formstack-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://developers.formstack.com/docs/webhook-setup, computed with openssl",
        at=1700000000,
    ),
    Vector(
        body=b"FormID=1&HandshakeKey=formstack-vector-key",
        headers={"content-type": "application/x-www-form-urlencoded"},
        secret="formstack-vector-key",  # noqa: S106 (of the vector)
        origin="formula: the handshake key of older hooks, as a field",
        at=1700000000,
    ),
)

SOURCE = form_tool("formstack", "Formstack", SCHEME, see, vectors=VECTORS)
