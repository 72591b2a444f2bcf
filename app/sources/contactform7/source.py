"""Contact Form 7 with the plugin "CF7 to Webhook". It signs nothing, so the URL carries a token.

Payload: https://wordpress.org/plugins/cf7-to-zapier/ (JSON by the names of the form's tags, or a template of the owner's). An
answer that
is not accepted fails the visitor's form, so what cannot be read is parked.
"""

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.bodies import read_body
from app.sources.forms.generic_form import fields_from, get
from app.sources.outcomes import lead, parked
from app.sources.parse import body_hash, page_parameters
from app.sources.submission import Submission, title_of
from app.sources.webhook import Webhook

NAME = "contactform7"


def read(inbound: Inbound, rules: Rules) -> Mapped:
    try:
        raw = read_body(inbound)
    except MalformedEvent as error:
        unread = Submission(event="submission", submission_id=body_hash(inbound.body), body=inbound.body)
        return parked(NAME, unread, rules, f"{error}: leave the plugin's own JSON, or make its template JSON")
    view = Submission(
        event="submission",
        submission_id=body_hash(inbound.body),
        body=inbound.body,
        fields=fields_from(raw),
        page=page_parameters(get(raw, "url", "page_url", "_url")),
        form=title_of(get(raw, "form_title", "title", "_title")),
    )
    if not view.fields:
        return parked(NAME, view, rules, "it holds no fields", lacks=("person",))
    return lead(NAME, view, rules)


SOURCE = Webhook(NAME, "Contact Form 7", None, read)
