"""Gravity Forms' Webhooks add-on. It signs nothing, so the URL carries a token.

Payload: https://docs.gravityforms.com/webhooks-add-on/ (JSON or form-encoded; all fields, by number, or chosen keys) and
https://docs.gravityforms.com/entry-object/ (date_created is UTC).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import read_body
from app.sources.forms.generic_form import fields_from, get
from app.sources.forms.labels import words
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import body_hash, from_iso, identifier_of, page_parameters
from app.sources.submission import Field, Submission, title_of
from app.sources.webhook import Webhook

NAME = "gravityforms"
OF_THE_ENTRY = words("id form_id entry_id date_created date_updated ip source_url user_agent currency status")
FIRST_NAME = re.compile(r"(\d+)[._]3")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = read_body(inbound)
    view = Submission(
        event="submission",
        submission_id=identifier_of(get(raw, "entry_id", "entryid", "id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(raw, "date_created", "entry_date"), assume_utc=True),
        fields=(*fields_from(raw, skip=OF_THE_ENTRY), *_names(raw)),
        page=page_parameters(get(raw, "source_url", "embed_url")),
        form=title_of(get(raw, "form_title", "form_name"), get(raw, "form_id")),
        account=identifier_of(get(raw, "form_id")),
    )
    if get(raw, "status") in ("spam", "trash"):
        reason = f"the entry is marked as {raw['status']}" if "status" in raw else "the entry is spam"
        return ignored(view, reason, rules)
    if not raw:
        return parked(NAME, view, rules, "it holds no fields", lacks=("person",))
    return lead(NAME, view, rules)


def _names(raw: Mapping[str, Any]) -> Iterator[Field]:
    """Of a Name field the inputs are numbered .2 to .8, first is .3 and last is .6; an Address has .3 and .6 too, but with
    .1 and .5 beside them (https://docs.gravityforms.com/name-field/)."""
    for key in raw:
        match = FIRST_NAME.fullmatch(key)
        if match:
            number, mark = match[1], key[len(match[1])]
            if f"{number}{mark}6" in raw and not {f"{number}{mark}1", f"{number}{mark}5"} & raw.keys():
                yield Field(id=key, type="first_name", value=raw[key])
                yield Field(id=f"{number}{mark}6", type="last_name", value=raw[f"{number}{mark}6"])


SOURCE = Webhook(NAME, "Gravity Forms", None, read)
