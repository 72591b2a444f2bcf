"""Webflow. Hooks made in the dashboard are unsigned; those made through the API are signed with the secret that came back.

Signing: https://developers.webflow.com/data/docs/working-with-webhooks
Payload: https://developers.webflow.com/data/reference/webhooks/events/form-submission
"""

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import from_iso, identifier_of, json_object, page_parameters
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "webflow"
SCHEME = HmacScheme(
    header="x-webflow-signature", template="{t}:{body}", timestamp_header="x-webflow-timestamp", timestamp_unit="ms"
)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    flat = "payload" not in raw and isinstance(raw.get("data"), dict)  # version 1
    payload = raw if flat else dict_of(raw.get("payload"))
    event = event_name_of(raw.get("triggerType")) or ("form_submission" if flat else "")
    data = payload.get("data")
    view = Submission(
        event=event,
        submission_id=identifier_of(payload.get("id")) or identifier_of(payload.get("_id")),
        body=inbound.body,
        occurred_at=from_iso(payload.get("submittedAt")) or from_iso(payload.get("d")),
        fields=fields_from(dict_of(data)),
        page=page_parameters(payload.get("pageUrl")),
        form=title_of(payload.get("name"), payload.get("formId")),
    )
    if event and event != "form_submission":
        return ignored(view, f"{event} is not a submission", rules)
    if not event:
        return parked(NAME, view, rules, "it has no triggerType")
    if not isinstance(data, dict):
        return parked(NAME, view, rules, "it has no payload.data, which holds the answers", lacks=("person",))
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no payload.id, so it could not be counted once", lacks=("id",))
    return lead(NAME, view, rules)


VECTORS = (
    Vector(
        body=b'{"triggerType":"form_submission"}',
        headers={
            "x-webflow-timestamp": "1700000000000",
            "x-webflow-signature": "328a5df34bf991da339bfdbb094073a89237d057024ddf15296eae00a201b2f8",
        },
        secret="webflow-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://developers.webflow.com/data/docs/working-with-webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(NAME, "Webflow", SCHEME, read, vectors=VECTORS)
