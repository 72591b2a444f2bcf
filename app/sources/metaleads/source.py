"""Meta lead ads: the app's own webhook, which names the lead alone, or a relay that sends its fields.

Signing: https://developers.facebook.com/docs/graph-api/webhooks/getting-started (X-Hub-Signature-256: sha256=…, the app secret). A
relay does not sign, and its URL carries a token.
Payload: https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving/
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.forms.generic_form import declared
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import from_iso, from_unix, identifier_of, json_object, parse_json, text_of
from app.sources.payment import is_refused_test, refuse_test
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Field, Submission, title_of
from app.sources.webhook import Webhook

NAME = "metaleads"
LEAD = "leadgen"
SCHEME = HmacScheme(header="X-Hub-Signature-256", prefix="sha256=")
DUMMY = re.compile(r"<test lead: dummy data for .*", re.IGNORECASE | re.DOTALL)
"""What Meta's testing tool fills into each field that it has no example for."""


def split(inbound: Inbound) -> Sequence[Inbound]:
    """One request for each lead: Meta sends up to 1,000 changes at once, of several pages."""
    try:
        raw = dict_of(parse_json(inbound.body))
    except MalformedEvent:
        return (inbound,)
    leads = [(entry, change) for entry, change in _changes(raw) if change.get("field") == LEAD]
    if len(leads) < 2:
        return (inbound,)
    bodies = ({**raw, "entry": [{**entry, "changes": [change]}]} for entry, change in leads)
    return [replace(inbound, body=to_json(body)) for body in bodies]


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    if "entry" in raw:
        return _native(inbound, raw, rules)
    lead_id = identifier_of(raw.get("leadgen_id")) or identifier_of(raw.get("id"))
    view = Submission(
        event=LEAD,
        submission_id=lead_id,
        body=inbound.body,
        occurred_at=_moment(raw.get("created_time")),
        fields=tuple(_fields(raw)),
        form=title_of(raw.get("form_name"), raw.get("form_id")),
    )
    if is_refused_test(NAME, rules, any(_is_dummy(entry.value) for entry in view.fields)):
        return refuse_test(NAME, "Meta lead ads", view, rules)
    if not lead_id:
        return parked(NAME, view, rules, "it has no id of the lead, so it could not be counted once", lacks=("id",))
    if not view.fields:
        return parked(NAME, view, rules, "it has no field_data, which holds the answers", lacks=("person",))
    return lead(NAME, view, rules)


def _native(inbound: Inbound, raw: dict[str, Any], rules: Rules) -> Mapped:
    value = next((dict_of(change.get("value")) for _, change in _changes(raw) if change.get("field") == LEAD), None)
    view = Submission(
        event=LEAD,
        submission_id=identifier_of((value or {}).get("leadgen_id")),
        body=inbound.body,
        occurred_at=from_unix((value or {}).get("created_time")),
        form=title_of((value or {}).get("form_id")),
    )
    if value is None:
        return ignored(view, "the event is not about a lead", rules)
    return parked(NAME, view, rules, "it names only the lead: its fields are in Meta's Graph API", lacks=("person",))


def _changes(raw: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each change with its entry."""
    for entry in map(dict_of, list_of(raw.get("entry"))):
        for change in list_of(entry.get("changes")):
            yield entry, dict_of(change)


def _fields(raw: dict[str, Any]) -> Iterator[Field]:
    for entry in map(dict_of, list_of(raw.get("field_data"))):
        name = text_of(entry.get("name")) or ""
        yield Field(id=name, key=name, type=declared(name), value=entry.get("values", entry.get("value")))


def _is_dummy(answer: Any) -> bool:
    values = answer if isinstance(answer, list) else [answer]
    return any(isinstance(value, str) and DUMMY.match(value.strip()) for value in values)


def _moment(value: Any) -> Any:
    """2026-11-01T10:00:00+0000: the zone has no colon."""
    text = text_of(value) or ""
    return from_iso(re.sub(r"([+-]\d{2})(\d{2})$", r"\1:\2", text)) or from_unix(value)


VECTORS = (
    Vector(
        body=b'{"object":"page","entry":[]}',
        headers={"x-hub-signature-256": "sha256=5dd666378f9febf658dc4a7deabe4d1aea5b0139e0e4893b90c8851e95a343a0"},
        secret="metaleads-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://developers.facebook.com/docs/graph-api/webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(NAME, "Meta lead ads", SCHEME, read, splits=split, vectors=VECTORS, set_up=SetUp(marks_tests=True))
