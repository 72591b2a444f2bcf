"""Clerk: sign-ups, delivered by Svix.

Signing: https://docs.svix.com/receiving/verifying-payloads/how-manual
Payload: https://clerk.com/docs/webhooks/overview
"""

from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of, list_of
from app.sources.forms.generic_form import below
from app.sources.outcomes import user_event
from app.sources.parse import from_unix, identifier_of, json_object
from app.sources.set_up import SetUp
from app.sources.signatures import published_vector, standard_webhooks
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "clerk"
REDELIVER = "Webhooks > the endpoint > Replay > Recover all failed messages."
SCHEME = standard_webhooks("svix")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    user = dict_of(raw.get("data"))
    event = event_name_of(raw.get("type"))
    user_id, metadata = identifier_of(user.get("id")), _metadata(user)
    view = Submission(
        event=event,
        submission_id=user_id,
        body=inbound.body,
        event_id=identifier_of(inbound.headers.get("svix-id")),
        occurred_at=from_unix(user.get("created_at")) or from_unix(raw.get("timestamp")),
        fields=below(metadata),
        hidden=metadata,
        contact=Contact(
            email=_primary(user, "email_addresses", "primary_email_address_id").get("email_address"),
            first=user.get("first_name"),
            last=user.get("last_name"),
            phone=_primary(user, "phone_numbers", "primary_phone_number_id").get("phone_number"),
            customer_id=user_id,
        ),
    )
    return user_event(NAME, view, rules, is_verified=_is_verified(user))


def _metadata(user: dict[str, Any]) -> dict[str, Any]:
    """What the sign-up page set (unsafe) over what the owner's code set later."""
    return {
        **dict_of(user.get("private_metadata")),
        **dict_of(user.get("public_metadata")),
        **dict_of(user.get("unsafe_metadata")),
    }


def _is_verified(user: dict[str, Any]) -> bool:
    address = _primary(user, "email_addresses", "primary_email_address_id")
    return dict_of(address.get("verification")).get("status") == "verified"


def _primary(user: dict[str, Any], entries: str, primary_id: str) -> dict[str, Any]:
    """The entry that the account names as primary; the first where it names none."""
    known = [entry for entry in map(dict_of, list_of(user.get(entries))) if entry]
    identity = user.get(primary_id)
    return next((entry for entry in known if identity and entry.get("id") == identity), known[0] if known else {})


VECTORS = (published_vector("svix"),)

SOURCE = Webhook(
    NAME,
    "Clerk",
    SCHEME,
    read,
    vectors=VECTORS,
    set_up=SetUp(
        redeliver=REDELIVER,
        usual_prefixes=("whsec_",),
        wrong_prefixes={"sk_live_": "an API key (sk_…)", "sk_test_": "an API key (sk_…)"},
    ),
)
