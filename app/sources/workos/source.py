"""WorkOS: sign-ups.

Signing: https://workos.com/docs/events/data-syncing/webhooks (WorkOS-Signature: t=…, v1=…, in milliseconds).
Payload: https://workos.com/docs/events
"""

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import below
from app.sources.outcomes import user_event
from app.sources.parse import from_iso, identifier_of, json_object
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "workos"
SCHEME = HmacScheme(
    header="WorkOS-Signature",
    pairs=("t", "v1"),
    separator=", ",  # their SDK takes nothing else
    template="{t}.{body}",
    timestamp_unit="ms",
    tolerance_seconds=180,
)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    event, user = event_name_of(raw.get("event")), dict_of(raw.get("data"))
    user_id, metadata = identifier_of(user.get("id")), dict_of(user.get("metadata"))
    view = Submission(
        event=event,
        submission_id=user_id,
        body=inbound.body,
        event_id=identifier_of(raw.get("id")),
        occurred_at=from_iso(user.get("created_at")) or from_iso(raw.get("created_at")),
        fields=below(metadata),
        hidden=metadata,
        contact=Contact(
            email=user.get("email"),
            name=user.get("name"),
            first=user.get("first_name"),
            last=user.get("last_name"),
            customer_id=identifier_of(user.get("external_id")) or user_id,
        ),
    )
    return user_event(NAME, view, rules, is_verified=user.get("email_verified") is True, type_name="event")


VECTORS = (
    Vector(
        body=b'{"event":"user.created"}',
        headers={
            "workos-signature": "t=1700000000000, v1=f676aa83b1baece632138ef3ea39cf8139e8db8b7e872c8e0b804d68911ec122"
        },
        secret="wos_vector_secret",  # noqa: S106 (of the vector)
        origin="formula: the documented one, computed with openssl; PyPI workos 10.8.0, verify_header, accepts it",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "WorkOS",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(wrong_prefixes={"sk_live_": "an API key (sk_…)", "sk_test_": "an API key (sk_…)"}),
)
