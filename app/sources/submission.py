"""One small view of every submission, and what it says of its person.

A source turns its provider's body into a Submission; everything after that (whose e-mail address is it, which field is the name,
where is the click id) is the same for all of them and lives here. Readers are tolerant on purpose, where Stripe's are
models: people build these forms, any field may hold anything, and one odd answer must not lose the lead.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from app.model import Rules, Who
from app.sources.click_ids import clicks_in, clicks_in_urls
from app.sources.field_names import first_named, keep_named
from app.sources.forms.labels import Meaning, Part, meaning_of, says_no_person, says_only_who
from app.sources.forms.person_fields import name_of, phone_of, single
from app.sources.parse import email_of, identifier_of, text_of

FieldType = Literal["text", "email", "phone", "name", "first_name", "last_name", "hidden", "other"]
"""What the provider declares a field to be. "text" says nothing; "other" (choices, files, dates, scores) names nobody."""

MOST_FIELDS = 2000


@dataclass(frozen=True, slots=True)
class Field:
    """One question and its answer. `id` and `key` are the provider's names of it, `label` is what people read."""

    id: str = ""
    key: str = ""
    label: str = ""
    type: FieldType = "text"
    value: Any = None


@dataclass(frozen=True, slots=True)
class Contact:
    """What a provider says outright of a person. Values may be of any type: they are checked when they are picked."""

    email: Any = None
    name: Any = None
    first: Any = None
    last: Any = None
    phone: Any = None
    customer_id: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission, normalised.

    hidden: hidden fields, URL parameters and metadata by name, the more trustworthy first.
    page: parameters of the page that the form was on. They name ids where the form itself names none, and nothing else of a
    person: ?name= is about the page.
    contact: declared by the provider, so it wins; fallback: used only for what nothing else says (the payer of a payment field).
    form: title, or id where there is none. account: scopes submission_id where that is not unique by itself.
    """

    event: str
    submission_id: str | None
    body: bytes
    event_id: str | None = None
    occurred_at: datetime | None = None
    fields: tuple[Field, ...] = ()
    hidden: Mapping[str, Any] = field(default_factory=dict)
    page: Mapping[str, Any] = field(default_factory=dict)
    contact: Contact = Contact()
    fallback: Contact = Contact()
    form: str | None = None
    account: str | None = None
    other_ids: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """See Who.aliases and Who.provider_id."""
    provider_id: str | None = None


def event_name_of(value: object) -> str:
    """The name of an event as the body gives it, bounded; "" where there is none."""
    return (text_of(value) or "")[:100]


def title_of(*values: object) -> str | None:
    """The first of `values` that is a text, bounded: a form's title or id."""
    return next((text[:255] for text in map(text_of, values) if text), None)


def who_of(view: Submission, rules: Rules) -> Who:
    """Everything `view` says of its person."""
    named = _by_name(_with_hidden(view, hidden_first=True))
    on_page = _by_name(Field(key=key, value=value) for key, value in view.page.items())
    email, phone, parts = _read_fields(view)
    return Who(
        aliases=view.aliases,
        provider_id=view.provider_id,
        customer_id=first_named(named, rules.customer_id_names)
        or identifier_of(view.contact.customer_id)
        or first_named(on_page, rules.customer_id_names),
        click_id=first_named(named, rules.click_id_names) or first_named(on_page, rules.click_id_names),
        email=email_of(single(view.contact.email)) or email or email_of(single(view.fallback.email)),
        name=_declared_name(view.contact) or _join(parts) or _declared_name(view.fallback),
        phone=phone_of(view.contact.phone) or phone or phone_of(view.fallback.phone),
        clicks=_clicks_of(view, rules),
    )


# --- ids -------------------------------------------------------------------------------------------------------------


def _by_name(fields: Iterable[Field]) -> dict[str, str]:
    """Every value that could be an id by the names it goes by; of several the first."""
    named: dict[str, str] = {}
    for entry in fields:
        value = identifier_of(single(entry.value))
        if value is None:
            continue
        for name in (entry.id, entry.key, entry.label):
            keep_named(named, name, value)
    return named


def _clicks_of(view: Submission, rules: Rules) -> dict[str, str]:
    """Of hidden fields first, then of answers, of the page's parameters, and of URLs in hidden fields."""
    named = (
        (name, single(entry.value))
        for entry in _with_hidden(view, hidden_first=True)
        for name in dict.fromkeys((entry.id, entry.key, entry.label))
    )
    clicks = clicks_in(named, rules)
    if view.page:
        clicks = {**clicks_in(view.page.items(), rules), **clicks}
    return {**clicks_in_urls(view.hidden.values(), rules), **clicks}


def _with_hidden(view: Submission, *, hidden_first: bool) -> Iterator[Field]:
    hidden = (Field(key=str(key), type="hidden", value=value) for key, value in view.hidden.items())
    if hidden_first:
        yield from hidden
        yield from view.fields[:MOST_FIELDS]
    else:
        yield from view.fields[:MOST_FIELDS]
        yield from hidden


# --- fields to a person ----------------------------------------------------------------------------------------------

DECLARED_PARTS: Mapping[str, Part] = {"name": "full", "first_name": "first", "last_name": "last"}


def _read_fields(view: Submission) -> tuple[str | None, str | None, dict[Part, str]]:
    """The e-mail address, the phone number and the parts of the name that fields say, the surest of each: declared types
    first, then labels, then hidden fields, and an e-mail address known by its look alone last."""
    emails: dict[int, str] = {}
    phones: dict[int, str] = {}
    parts: dict[tuple[Part, int], str] = {}
    for entry in _with_hidden(view, hidden_first=False):
        if entry.type == "other" or entry.value in (None, "", []):
            continue
        about = meaning_of(entry.label, entry.key or entry.id)
        labelled = 2 if entry.type == "hidden" else 1
        if about.whose < 2:
            _offer_email(emails, entry, about, labelled)
            if entry.type == "phone" or (about.phone and entry.type in ("text", "hidden")):
                phone = phone_of(entry.value)
                if phone and (entry.type == "phone" or sum(c.isdigit() for c in phone) >= 6):
                    phones.setdefault(about.whose * 10 + (0 if entry.type == "phone" else labelled), phone)
        declared = DECLARED_PARTS.get(entry.type)
        if declared and (about.whose or says_no_person(entry.label)):
            continue
        part = declared or (about.part if entry.type in ("text", "hidden") else None)
        if (
            part is None
            and entry.type == "text"
            and isinstance(entry.value, Mapping)
            and says_only_who(entry.label or entry.key)
        ):
            part = "full"  # {first, last} under "Applicant"
        if part and (name := name_of(entry.value)):
            parts.setdefault((part, 0 if declared else labelled), name)
    best: dict[Part, str] = {}
    for (part, _), name in sorted(parts.items(), key=lambda item: item[0][1]):
        best.setdefault(part, name)
    return _surest(emails), _surest(phones), best


def _offer_email(emails: dict[int, str], entry: Field, about: Meaning, labelled: int) -> None:
    if entry.type == "phone":
        return
    email = email_of(single(entry.value))
    if not email:
        return
    if entry.type == "email":
        rank = 0
    elif about.email:
        rank = labelled
    elif entry.type == "hidden":
        return
    else:
        rank = 5
    emails.setdefault(about.whose * 10 + rank, email)


def _surest(ranked: Mapping[int, str]) -> str | None:
    return ranked[min(ranked)] if ranked else None


def _declared_name(contact: Contact) -> str | None:
    parts: dict[Part, str] = {}
    for part, value in (("full", contact.name), ("first", contact.first), ("last", contact.last)):
        name = name_of(value)
        if name:
            parts[part] = name  # type: ignore[index]
    return _join(parts)


def _join(parts: Mapping[Part, str]) -> str | None:
    """First and last joined by a space. A "name" beside only one of them is whole if it holds it, else the other half."""
    full, first, last = parts.get("full"), parts.get("first"), parts.get("last")
    if full and first and not last and first.casefold() not in full.casefold():
        return f"{first} {full}"
    if full and last and not first and last.casefold() not in full.casefold():
        return f"{full} {last}"
    return full or " ".join(part for part in (first, last) if part) or None
