"""Form tools that need no file of their own: how each signs, and where in its body things lie."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of, form_pairs, json_in, list_of, nested, read_body
from app.sources.flat import declared, fields_from, get, page_parameters
from app.sources.handshake import Handshake
from app.sources.reading import body_hash, from_iso, from_unix_or_iso, identifier_of, text_of
from app.sources.signatures import HmacScheme
from app.sources.view import Contact, Field, View, ignored, lead, parked, title_of
from app.sources.webhook import Scheme, Webhook

Reader = Callable[[dict[str, Any], Inbound], View | str]
"""The body and the request to a view, or to the reason why it is no submission."""


def _preset(name: str, title: str, scheme: Scheme | None, see: Reader) -> Webhook:
    def read(inbound: Inbound, rules: Rules) -> Mapped:
        seen = see(read_body(inbound), inbound)
        if isinstance(seen, str):
            return ignored(View(event="submission", submission_id=None, body=inbound.body), seen)
        if not seen.fields:
            return parked(name, seen, rules, "it holds no answers where this tool puts them")
        if not seen.submission_id:
            return parked(name, seen, rules, "it has no id of the submission, so it could not be counted once")
        return lead(name, seen, rules)

    stamps = scheme.stamp if isinstance(scheme, Handshake) and scheme.hmac is None else None
    return Webhook(name, title, scheme, read, stamps)


def _framer(raw: dict[str, Any], inbound: Inbound) -> View:
    """https://www.framer.com/help/articles/framer-form-webhook-setup: the inputs' names as keys, the id in a header."""
    return View(
        event="submission",
        submission_id=identifier_of(inbound.headers.get("framer-webhook-submission-id")) or body_hash(inbound.body),
        body=inbound.body,
        fields=fields_from(raw),
    )


def _basin(raw: dict[str, Any], inbound: Inbound) -> View | str:
    """https://docs.usebasin.com/integrations/webhooks: plain, wrapped in "data", or a form, or a form in "data"."""
    data = raw.get("data")
    if isinstance(data, str) and "=" in data:
        try:
            answers = nested(form_pairs(data.encode("utf-8", "replace")))
        except MalformedEvent:
            answers = raw
    else:
        answers = dict_of(data) or raw
    if str(get(answers, "spam", "is_spam")).casefold() == "true":
        return "Basin marked it as spam"
    return View(
        event="submission",
        submission_id=next(
            (found for values in (answers, raw) if (found := identifier_of(get(values, "id", "submission_id")))),
            body_hash(inbound.body),
        ),
        body=inbound.body,
        occurred_at=from_iso(get(answers, "created_at")) or from_iso(get(raw, "created_at")),
        fields=fields_from(answers, skip=frozenset({"id", "attachments", "spam"})),
        page=page_parameters(get(answers, "source_url", "referrer")),
        form=title_of(get(answers, "form_name", "form_id")),
    )


def _opnform(raw: dict[str, Any], inbound: Inbound) -> View:
    """https://docs.opnform.com (webhooks): "data" by field id; "submission", by label, is older. The id is only there for
    forms whose submissions can be edited."""
    link = page_parameters(raw.get("edit_link"))
    return View(
        event="submission",
        submission_id=identifier_of(raw.get("submission_id") or link.get("submission_id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(raw, "submitted_at", "created_at")),
        fields=fields_from(dict_of(raw.get("data")) or dict_of(raw.get("submission"))),
        form=title_of(raw.get("form_title"), raw.get("form_slug")),
    )


def _formspree(raw: dict[str, Any], inbound: Inbound) -> View:
    """https://help.formspree.io/hc/en-us/articles/360015234873 (webhook plugin)."""
    answers = dict_of(raw.get("submission")) or raw
    return View(
        event="submission",
        submission_id=identifier_of(get(answers, "_id", "id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(answers, "_date")),
        fields=fields_from(answers, skip=frozenset({"_id", "_date", "form", "keys"})),
        form=title_of(raw.get("form")),
    )


def _fillout(raw: dict[str, Any], inbound: Inbound) -> View | str:
    """https://www.fillout.com/help/webhook: the submission at times comes as a JSON text."""
    submission = dict_of(json_in(raw.get("submission"))) or raw
    if "progress" in (text_of(submission.get("status")) or "").casefold():
        return "a partial submission: it is still in progress"
    parameters = map(dict_of, list_of(submission.get("urlParameters")))
    bookings = (dict_of(dict_of(one).get("value")) for one in list_of(submission.get("scheduling")))
    booked = next((one for one in bookings if one), {})
    return View(
        event="submission",
        submission_id=identifier_of(submission.get("submissionId")),
        body=inbound.body,
        occurred_at=from_iso(submission.get("submissionTime")),
        fields=fields_from({"questions": submission.get("questions")}),
        hidden={name: one.get("value") for one in parameters if (name := text_of(one.get("name") or one.get("id")))},
        spare=Contact(
            email=dict_of(submission.get("login")).get("email") or booked.get("email"), name=booked.get("fullName")
        ),
        form=title_of(raw.get("formName"), raw.get("formId")),
    )


def _paperform(raw: dict[str, Any], inbound: Inbound) -> View | str:
    """https://paperform.co/help/articles/webhooks/: created_at is UTC and says no zone."""
    said = [text_of(raw.get(key)) or "" for key in ("trigger", "event", "type")]
    if any("partial" in word.casefold() for word in (*said, *(key for key, value in raw.items() if value))):
        return "a partial submission"
    return View(
        event="submission",
        submission_id=identifier_of(raw.get("submission_id")),
        body=inbound.body,
        occurred_at=from_iso(raw.get("created_at"), assume_utc=True),
        fields=fields_from({"data": raw.get("data")}),
        form=title_of(raw.get("form_title"), raw.get("form_id")),
    )


def _cognitoforms(raw: dict[str, Any], inbound: Inbound) -> View | str:
    """https://www.cognitoforms.com/support/66/data-integration/webhooks."""
    form, entry = dict_of(raw.get("Form")), dict_of(raw.get("Entry"))
    if (text_of(entry.get("Status")) or "").casefold() in ("incomplete", "saved", "draft"):
        return "a partial entry: it was saved and not submitted"
    if (text_of(entry.get("Action")) or "").casefold() in ("update", "delete"):
        return "a changed or deleted entry: it was counted when it was submitted"
    numbers = [text_of(form.get("Id")), text_of(entry.get("Number"))]
    return View(
        event="submission",
        submission_id=identifier_of(raw.get("Id"))
        or (identifier_of("-".join(map(str, numbers))) if all(numbers) else None),
        body=inbound.body,
        occurred_at=from_iso(entry.get("DateSubmitted")) or from_iso(entry.get("DateCreated")),
        fields=fields_from(raw, skip=frozenset({"form", "entry", "id"})),
        form=title_of(form.get("Name"), form.get("InternalName"), form.get("Id")),
    )


def _wufoo(raw: dict[str, Any], inbound: Inbound) -> View:
    """https://help.wufoo.com (webhooks): FieldN; titles in FieldStructure where "include field and form structures" is on.
    DateCreated is in the account's zone, which is not said. Entries are numbered by form, so without its hash the second
    they were made in is part of the id."""
    form = dict_of(json_in(raw.get("FormStructure")))
    entry, hashed = identifier_of(raw.get("EntryId")), identifier_of(form.get("Hash"))
    made = "".join(c for c in text_of(raw.get("DateCreated")) or "" if c.isdigit())[:14]
    return View(
        event="entry",
        submission_id=f"{entry}-{made}" if entry and made and not hashed else entry,
        body=inbound.body,
        fields=tuple(_wufoo_fields(raw)),
        form=title_of(form.get("Name"), hashed),
        account=hashed,
    )


def _wufoo_fields(raw: dict[str, Any]) -> Iterator[Field]:
    asked: dict[str, Field] = {}
    for one in map(dict_of, list_of(dict_of(json_in(raw.get("FieldStructure"))).get("Fields"))):
        title, kind = text_of(one.get("Title")) or "", text_of(one.get("Type"))
        is_name = declared(kind) == "name"
        parts = [dict_of(part) for part in list_of(one.get("SubFields"))] or [one]
        for part in parts:
            name, label = text_of(part.get("ID")) or "", text_of(part.get("Label")) or title
            own = declared(f"{label} name") if is_name and len(parts) > 1 else declared(kind)
            asked[name] = Field(label=title if not is_name else label, type=own)
    for key, value in raw.items():
        if key.startswith("Field") and key[5:].isdigit():
            known = asked.get(key, Field())
            yield Field(id=key, key=key, label=known.label, type=known.type, value=value)


def _formstack(raw: dict[str, Any], inbound: Inbound) -> View:
    """https://developers.formstack.com/docs/webhook-setup: names come as "first = John", a new line, "last = Smith"."""
    return View(
        event="submission",
        submission_id=identifier_of(raw.get("UniqueID")),
        body=inbound.body,
        fields=fields_from(
            {key: _formstack_value(value) for key, value in raw.items()},
            skip=frozenset({"formid", "uniqueid", "handshakekey"}),
        ),
        form=title_of(raw.get("FormName"), raw.get("FormID")),
        account=identifier_of(raw.get("FormID")),
    )


def _formstack_value(value: Any) -> Any:
    """The parts of a value, which in a form are lines of "part = text"; with "include field type" on, field_type is one."""
    parts = value
    if isinstance(value, str) and " = " in value:
        parts = dict(line.split(" = ", 1) for line in value.splitlines() if " = " in line)
    if not isinstance(parts, dict):
        return value
    if parts.keys() & {"first", "last"}:
        return {"first": parts.get("first"), "last": parts.get("last")}
    return parts if {"value", "field_type"} <= parts.keys() else value


def _googleforms(raw: dict[str, Any], inbound: Inbound) -> View:
    """docs/sources.md has the Apps Script that sends and signs this; namedValues is the shape of the trigger's event:
    https://developers.google.com/apps-script/guides/triggers/events#google_forms_events."""
    answers = next((found for key in ("namedValues", "answers", "responses") if (found := raw.get(key))), None)
    return View(
        event="submission",
        submission_id=identifier_of(get(raw, "responseid", "response_id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_unix_or_iso(get(raw, "timestamp", "lastsubmittedtime", "submittedat", "submitted_at")),
        fields=fields_from({"answers": answers} if isinstance(answers, list) else dict_of(answers)),
        contact=Contact(email=raw.get("respondentEmail")),
        form=title_of(raw.get("formTitle"), raw.get("formId")),
    )


PRESETS: Mapping[str, Webhook] = {
    source.name: source
    for source in (
        _preset(
            "framer",
            "Framer",
            HmacScheme(
                header="Framer-Signature",
                prefix="sha256=",
                template="{body}{id}",
                id_header="Framer-Webhook-Submission-Id",
            ),
            _framer,
        ),
        _preset("basin", "Basin", HmacScheme(header="X-Basin-Signature", prefix="sha256="), _basin),
        _preset("opnform", "OpnForm", HmacScheme(header="X-Webhook-Signature", prefix="sha256="), _opnform),
        _preset(
            "formspree",
            "Formspree",
            HmacScheme(header="Formspree-Signature", pairs=("t", "v1"), template="{t}.{body}"),
            _formspree,
        ),
        _preset("fillout", "Fillout", None, _fillout),
        _preset("paperform", "Paperform", None, _paperform),
        _preset("wufoo", "Wufoo", Handshake(), _wufoo),
        _preset(
            "formstack",
            "Formstack",
            Handshake(hmac=HmacScheme(header="X-FS-Signature", prefix="sha256=")),
            _formstack,
        ),
        _preset("cognitoforms", "Cognito Forms", None, _cognitoforms),
        _preset(
            "googleforms",
            "Google Forms",
            HmacScheme(header="X-Bridge-Signature", pairs=("t", "v1"), template="{t}.{body}"),
            _googleforms,
        ),
    )
}
