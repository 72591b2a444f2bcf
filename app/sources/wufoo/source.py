"""Wufoo.

https://help.wufoo.com (webhooks): FieldN; titles in FieldStructure where "include field and form structures" is on.
DateCreated is in the account's zone, which is not said. Entries are numbered by form, so without its hash the second
they were made in is part of the id.
"""

from collections.abc import Iterator
from typing import Any

from app.model import Inbound
from app.sources.base import Vector
from app.sources.bodies import dict_of, json_in, list_of
from app.sources.forms.generic_form import declared
from app.sources.forms.tool import form_tool
from app.sources.handshake import Handshake
from app.sources.parse import identifier_of, text_of
from app.sources.submission import Field, Submission, title_of

SCHEME = Handshake()


def see(raw: dict[str, Any], inbound: Inbound) -> Submission:
    form = dict_of(json_in(raw.get("FormStructure")))
    entry, hashed = identifier_of(raw.get("EntryId")), identifier_of(form.get("Hash"))
    created_digits = "".join(c for c in text_of(raw.get("DateCreated")) or "" if c.isdigit())[:14]
    return Submission(
        event="entry",
        submission_id=f"{entry}-{created_digits}" if entry and created_digits and not hashed else entry,
        body=inbound.body,
        fields=tuple(_wufoo_fields(raw)),
        form=title_of(form.get("Name"), hashed),
        account=hashed,
    )


def _wufoo_fields(raw: dict[str, Any]) -> Iterator[Field]:
    asked: dict[str, Field] = {}
    for field in map(dict_of, list_of(dict_of(json_in(raw.get("FieldStructure"))).get("Fields"))):
        title, kind = text_of(field.get("Title")) or "", text_of(field.get("Type"))
        is_name = declared(kind) == "name"
        parts = [dict_of(part) for part in list_of(field.get("SubFields"))] or [field]
        for part in parts:
            name, label = text_of(part.get("ID")) or "", text_of(part.get("Label")) or title
            own = declared(f"{label} name") if is_name and len(parts) > 1 else declared(kind)
            asked[name] = Field(label=title if not is_name else label, type=own)
    for key, value in raw.items():
        if key.startswith("Field") and key[5:].isdigit():
            known = asked.get(key, Field())
            yield Field(id=key, key=key, label=known.label, type=known.type, value=value)


VECTORS = (
    Vector(
        body=b"EntryId=4&HandshakeKey=wufoo-vector-key",
        headers={"content-type": "application/x-www-form-urlencoded"},
        secret="wufoo-vector-key",  # noqa: S106 (of the vector)
        origin="formula: https://help.wufoo.com (webhooks): the handshake key as a field",
        at=1700000000,
    ),
)

SOURCE = form_tool("wufoo", "Wufoo", SCHEME, see, vectors=VECTORS)
