"""Mailchimp: subscribers of an audience. It signs nothing, so the URL carries a token.

Payload: https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/ (form-encoded, keys in brackets).
"""

from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of, read_body
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import from_iso, identifier_of
from app.sources.submission import Contact, Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "mailchimp"


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = read_body(inbound)
    data, event = dict_of(raw.get("data")), event_name_of(raw.get("type"))
    merges, audience = dict_of(data.get("merges")), identifier_of(data.get("list_id"))
    view = Submission(
        event=event,
        submission_id=identifier_of(data.get("id")),
        body=inbound.body,
        occurred_at=from_iso(raw.get("fired_at"), assume_utc=True),
        hidden=merges,
        contact=Contact(
            email=data.get("email") or merges.get("EMAIL"),
            first=merges.get("FNAME"),
            last=merges.get("LNAME"),
            phone=merges.get("PHONE"),
        ),
        form=title_of(audience),
        account=audience,
    )
    if event and event != "subscribe":
        return ignored(view, f"{event} is not a subscription", rules)
    if not event:
        return parked(NAME, view, rules, "it has no type")
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no data[id], so it could not be counted once", lacks=("id",))
    return lead(NAME, view, rules, event_name="subscribed", reason="somebody subscribed")


SOURCE = Webhook(NAME, "Mailchimp", None, read)
