"""Any sender that delivers through Svix (Stytch, Stack Auth and others): sign-ups, by the usual names.

Signing: https://docs.svix.com/receiving/verifying-payloads/how-manual (some send the same headers as webhook-*).
Payload: the sender's own. {"type": "….user.created", "data": {…}} is read, and Stytch's {"action": "CREATE", "object_type":
"user"}.
"""

from collections.abc import Sequence
from datetime import datetime

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import fields_from, get
from app.sources.outcomes import ignored, parked, signed_up
from app.sources.parse import from_iso, from_unix_or_iso, identifier_of, json_object, text_of
from app.sources.set_up import SetUp
from app.sources.signatures import published_vector, standard_webhooks
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "svix"
REDELIVER = "The endpoint in the provider's Svix portal > Replay > Recover all failed messages."


class Scheme:
    """The headers svix-*, or the same ones as webhook-*."""

    svix = standard_webhooks("svix")
    plain = standard_webhooks("webhook")

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        scheme = self.svix if "svix-signature" in inbound.headers else self.plain
        scheme.verify(inbound, secrets, now)

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return self.svix.sign(body, secret, now, url=url)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    data = dict_of(raw.get("data")) or dict_of(raw.get("object"))
    event = event_name_of(raw.get("type") or raw.get("event_type") or raw.get("eventType"))
    is_stytch = text_of(raw.get("action")) == "CREATE" and text_of(raw.get("object_type")) in ("user", "member")
    if is_stytch:
        event = event or f"{raw['object_type']}.created"
    message = inbound.headers.get("svix-id") or inbound.headers.get("webhook-id")
    user_id = identifier_of(get(data, "id", "user_id")) or (identifier_of(raw.get("id")) if is_stytch else None)
    view = Submission(
        event=event,
        submission_id=user_id or identifier_of(message),
        body=inbound.body,
        event_id=identifier_of(message),
        occurred_at=from_unix_or_iso(get(data, "created_at", "created_at_millis"))
        or from_iso(raw.get("timestamp"))
        or from_unix_or_iso(inbound.headers.get("svix-timestamp")),
        fields=fields_from(data),
        contact=Contact(
            email=get(data, "email", "email_address", "primary_email"),
            name=get(data, "name", "display_name", "full_name"),
            first=get(data, "first_name"),
            last=get(data, "last_name"),
            customer_id=user_id,
        ),
    )
    if not event:
        return parked(NAME, view, rules, "it has no type", event_name="signed_up")
    if not is_stytch and not event.endswith("user.created"):
        return ignored(view, f"{event} is not a sign-up: for another event, add a source of your own", rules)
    return signed_up(NAME, view, rules)


VECTORS = (published_vector("svix"), published_vector("webhook"))

SOURCE = Webhook(
    NAME,
    "Svix",
    Scheme(),
    read,
    vectors=VECTORS,
    set_up=SetUp(redeliver=REDELIVER, usual_prefixes=("whsec_",)),
)
