"""Fillout.

https://www.fillout.com/help/webhook: the submission at times comes as a JSON text.
"""

from typing import Any

from app.model import Inbound
from app.sources.bodies import dict_of, json_in, list_of
from app.sources.forms.generic_form import fields_from
from app.sources.forms.tool import form_tool
from app.sources.parse import from_iso, identifier_of, text_of
from app.sources.submission import Contact, Submission, title_of


def see(raw: dict[str, Any], inbound: Inbound) -> Submission | str:
    submission = dict_of(json_in(raw.get("submission"))) or raw
    if "progress" in (text_of(submission.get("status")) or "").casefold():
        return "a partial submission: it is still in progress"
    parameters = map(dict_of, list_of(submission.get("urlParameters")))
    bookings = (dict_of(dict_of(entry).get("value")) for entry in list_of(submission.get("scheduling")))
    booked = next((entry for entry in bookings if entry), {})
    return Submission(
        event="submission",
        submission_id=identifier_of(submission.get("submissionId")),
        body=inbound.body,
        occurred_at=from_iso(submission.get("submissionTime")),
        fields=fields_from({"questions": submission.get("questions")}),
        hidden={
            name: entry.get("value") for entry in parameters if (name := text_of(entry.get("name") or entry.get("id")))
        },
        fallback=Contact(
            email=dict_of(submission.get("login")).get("email") or booked.get("email"), name=booked.get("fullName")
        ),
        form=title_of(raw.get("formName"), raw.get("formId")),
    )


SOURCE = form_tool("fillout", "Fillout", None, see)
