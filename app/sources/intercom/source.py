"""Intercom: new users and leads.

Signing: https://developers.intercom.com/docs/webhooks/webhook-notifications (X-Hub-Signature: sha1=…).
Payload: the same page. A ping comes when the webhook is set up.
"""

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import below
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import from_unix, identifier_of, json_object, parse_json
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "intercom"
SCHEME = HmacScheme(header="X-Hub-Signature", prefix="sha1=", digest="sha1")
LEADS = {
    "contact.user.created": "a user was created",
    "contact.lead.created": "a lead was created",
    "contact.lead.signed_up": "a lead signed up",
}
LONGEST_PING = 2000


def ping(inbound: Inbound) -> str | None:
    if len(inbound.body) > LONGEST_PING or b'"ping"' not in inbound.body:
        return None
    try:
        is_ping = dict_of(parse_json(inbound.body)).get("topic") == "ping"
    except MalformedEvent:
        return None
    return "Intercom's ping, sent when its webhook is set up" if is_ping else None


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    event, item = event_name_of(raw.get("topic")), dict_of(dict_of(raw.get("data")).get("item"))
    attributes = dict_of(item.get("custom_attributes"))
    view = Submission(
        event=event,
        submission_id=identifier_of(item.get("id")),
        body=inbound.body,
        event_id=identifier_of(raw.get("id")),
        occurred_at=from_unix(item.get("created_at")) or from_unix(raw.get("created_at")),
        fields=below(attributes),
        hidden=attributes,
        contact=Contact(
            email=item.get("email"),
            name=item.get("name"),
            phone=item.get("phone"),
            customer_id=item.get("external_id"),
        ),
        account=identifier_of(raw.get("app_id")),
    )
    if event and event not in LEADS:
        return ignored(view, f"{event} is not a new contact", rules)
    if not event:
        return parked(NAME, view, rules, "it has no topic", event_name="signed_up")
    if not view.submission_id:
        return parked(
            NAME,
            view,
            rules,
            "it has no data.item.id, so it could not be counted once",
            event_name="signed_up",
            lacks=("id",),
        )
    return lead(NAME, view, rules, event_name="signed_up", reason=LEADS[event])


VECTORS = (
    Vector(
        body=b'{"topic":"contact.user.created"}',
        headers={"x-hub-signature": "sha1=89c7def9116b872943ac173fcfadf713af8cf253"},
        secret="intercom-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: https://developers.intercom.com/docs/webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(NAME, "Intercom", SCHEME, read, pings=ping, vectors=VECTORS)
