"""Auth0 event streams: sign-ups.

Signing: https://auth0.com/docs/customize/events/create-an-event-stream (Authorization: a bearer token, or Basic, as set
there).
Payload: https://auth0.com/docs/customize/events/event-types (CloudEvents). A 4xx is final there: what cannot be taken is
answered 503.
"""

from collections.abc import Sequence
from datetime import datetime

from app.errors import SignatureError
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import below
from app.sources.outcomes import user_event
from app.sources.parse import from_iso, identifier_of, json_object
from app.sources.set_up import SetUp
from app.sources.signatures import StaticSecret
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "auth0"


class Scheme:
    """The secret is the token without "Bearer", or user:password."""

    signs_body = False
    bearer = StaticSecret(form="bearer")
    basic = StaticSecret(form="basic")

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        try:
            self.bearer.verify(inbound, secrets, now)
        except SignatureError:
            self.basic.verify(inbound, [secret for secret in secrets if ":" in secret], now)

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return (self.basic if ":" in secret else self.bearer).sign(body, secret, now, url=url)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    event, user = (
        event_name_of(raw.get("type")).removeprefix("com.auth0."),
        dict_of(dict_of(raw.get("data")).get("object")),
    )
    user_id, metadata = identifier_of(user.get("user_id")), dict_of(user.get("user_metadata"))
    view = Submission(
        event=event,
        submission_id=user_id,
        body=inbound.body,
        event_id=identifier_of(raw.get("id")),
        occurred_at=from_iso(raw.get("time")) or from_iso(user.get("created_at")),
        fields=below(metadata),
        hidden=metadata,
        contact=Contact(
            email=user.get("email"),
            name=user.get("name"),
            first=user.get("given_name"),
            last=user.get("family_name"),
            phone=user.get("phone_number"),
            customer_id=user_id,
        ),
    )
    return user_event(NAME, view, rules, is_verified=user.get("email_verified") is True, id_name="user_id")


VECTORS = (
    Vector(
        body=b'{"type":"user.created"}',
        headers={"authorization": "Bearer a-token-of-the-stream"},
        secret="a-token-of-the-stream",  # noqa: S106 (of the vector)
        origin="formula: https://auth0.com/docs/customize/events: Authorization as it was set",
        at=1700000000,
    ),
    Vector(
        body=b'{"type":"user.created"}',
        headers={"authorization": "Basic YnJpZGdlOmEtcGFzc3dvcmQ="},
        secret="bridge:a-password",  # noqa: S106 (of the vector)
        origin="formula: RFC 7617, as https://auth0.com/docs/customize/events has it",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Auth0",
    Scheme(),
    read,
    vectors=VECTORS,
    set_up=SetUp(is_secret_chosen=True, wrong_prefixes={"Bearer ": "a token with Bearer before it"}),
)
