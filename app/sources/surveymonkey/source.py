"""SurveyMonkey. Its webhooks name the response alone, so each is parked: the answers are only in its API.

Signing: https://api.surveymonkey.com/v3/docs#webhooks (Sm-Signature, HMAC-SHA1; the key is client id & client secret).
Payload: the same page.
"""

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of
from app.sources.outcomes import ignored, parked
from app.sources.parse import from_iso, identifier_of, json_object
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, event_name_of, title_of
from app.sources.webhook import Webhook

NAME = "surveymonkey"
SCHEME = HmacScheme(header="Sm-Signature", encoding="base64", digest="sha1")
"""The secret is "client_id&client_secret"."""


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    event, resources = event_name_of(raw.get("event_type")), dict_of(raw.get("resources"))
    view = Submission(
        event=event,
        submission_id=identifier_of(raw.get("object_id")) or identifier_of(resources.get("respondent_id")),
        body=inbound.body,
        event_id=identifier_of(raw.get("event_id")),
        occurred_at=from_iso(raw.get("event_datetime")),
        form=title_of(resources.get("survey_id")),
    )
    if event != "response_completed":
        return ignored(view, f"{event or 'an event without event_type'} is not a completed response", rules)
    return parked(
        NAME, view, rules, "it names only the response: the answers are in SurveyMonkey's API", lacks=("person",)
    )


VECTORS = (
    Vector(
        body=b'{"event_type":"response_completed"}',
        headers={"sm-signature": "Uw+Xkgw+DX9kOuZFMKz/Q6W18f4="},
        secret="client-id&client-secret",  # noqa: S106 (of the vector)
        origin="formula: https://api.surveymonkey.com/v3/docs#webhooks, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(NAME, "SurveyMonkey", SCHEME, read, vectors=VECTORS)
