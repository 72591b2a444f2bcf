"""The filter of a list, read from its URL: its values, its errors, and the URLs that change one part of it.

A list's URL is its saved view, so it has no empty parameters. A form sends all its fields, and times in the reader's zone as
`from` and `to`; the answer is a redirect to the URL without them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request
from werkzeug.exceptions import UnprocessableEntity
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from app.text import storable
from app.times import UNITS, iso, read_since
from app.web.params import QUERY, Request, filled, read
from app.web.preferences import DAYS, midnights, zone

TIMES = {"from": "since", "to": "until"}
"""Fields of the form for a date and time, and the parameters that they become."""
PRESETS = (("1h", "Last hour"), ("today", "Today"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))
AGES = {"m": "minute", "h": "hour", "d": "day"}
LABELS = {
    "q": "Find",
    "status": "Status",
    "outcome": "Outcome",
    "source": "Source",
    "kind": "What",
    "destination": "Destination",
    "code": "Answer",
    "reason": "Reason",
    "click": "Click",
}
Model = TypeVar("Model", bound=Request)


@dataclass(frozen=True, slots=True)
class Asked:
    """fields: the parameters that were filled in. values: the same with times that the model reads. errors: what is wrong, by
    field. typed: what a time field of the form held that is wrong."""

    fields: dict[str, str]
    values: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """The variables of the form and chips of a list."""
        return {
            "fields": self.fields,
            "errors": self.errors,
            "typed": self.typed,
            "kept": self.kept,
            "chips": self.chips,
            "presets": self.presets,
            "moments": {name: self.moment(name) for name in TIMES.values()},
        }

    @property
    def status_code(self) -> int:
        return 422 if self.errors else 200

    @property
    def chips(self) -> list[tuple[str, str]]:
        """Each condition in words, and the query without it."""
        return [(words(name, value), self.query(**{name: None})) for name, value in self.fields.items()]

    @property
    def presets(self) -> list[tuple[str, str, bool]]:
        """Name, query, and whether it is chosen."""
        chosen = self.fields.get("since") if "until" not in self.fields else None
        return [(text, self.query(since=age, until=None), age == chosen) for age, text in PRESETS]

    @property
    def kept(self) -> dict[str, str]:
        """Times that the form's date fields cannot show, such as an age."""
        return {name: self.fields[name] for name in TIMES.values() if name in self.fields and not self.moment(name)}

    def moment(self, name: str) -> str:
        """since or until for a date and time field, in the reader's zone; "" if it is neither."""
        if typed := self.typed.get(name):
            return typed
        text = self.fields.get(name, "")
        if name in self.errors or text in DAYS or _is_age(text) or not text:
            return ""
        local = datetime.fromtimestamp(read_since(text) / 1000, UTC).astimezone(zone())
        return local.strftime("%Y-%m-%dT%H:%M:%S" if local.second else "%Y-%m-%dT%H:%M")

    def query(self, **changes: str | None) -> str:
        """The query of the same list with these parameters changed; None leaves one out."""
        fields = {name: value for name, value in {**self.fields, **changes}.items() if value}
        return "?" + urlencode(fields) if fields else "?"

    def read(self, model: type[Model]) -> Model | None:
        """The filter as the model; None if it is invalid."""
        known = {name: value for name, value in self.values.items() if name in model.model_fields}
        return None if self.errors else read(model, known, QUERY)


def asked(model: type[Request], names: Iterable[str], *, checks: Mapping[str, Sequence[str]] | None = None) -> Asked:
    """The filter of this request. checks: for some fields, fewer allowed values than the model has."""
    names = list(names)
    fields, errors, typed = filled(names), {}, {}
    for typed_name, name in TIMES.items():
        text = storable(request.args.get(typed_name, "").strip())
        if not text:
            continue
        try:
            fields[name] = iso(_moment(text, zone())) or ""
        except (ValueError, OverflowError):
            typed[name] = text[:100]
            errors[name] = "must be a date and time"
    values = midnights(fields)
    for name, value in values.items():
        if name not in errors and (problem := _problem(model, name, value, checks or {})):
            errors[name] = problem
    return Asked(fields, values, errors, typed)


def canonical(request_filter: Asked) -> Response | None:
    """A redirect to the list's URL without empty parameters and the form's own times; None if this is that URL."""
    args = request.args
    is_clean = all(value.strip() for value in args.values()) and not set(TIMES) & set(args)
    if is_clean or request_filter.typed:
        return None
    others = {name: value for name, value in args.items() if value.strip() and name not in (*TIMES, *TIMES.values())}
    fields = {**others, **request_filter.fields}
    return redirect(request.path + ("?" + urlencode(fields) if fields else ""))


def words(name: str, value: str) -> str:
    """A condition for people: "Source: stripe", "Last 24 hours", "Since 10 Apr 2026, 14:00"."""
    if name not in TIMES.values():
        return f"{LABELS.get(name, name)}: {value}"
    if value in DAYS:
        return value.capitalize() if name == "since" else f"Before {value}"
    if _is_age(value):
        number, unit = int(value[:-1]), AGES[value[-1]]
        span = unit if number == 1 else f"{number} {unit}s"
        return f"Last {span}" if name == "since" else f"Until {number} {unit}{'s' if number != 1 else ''} ago"
    try:
        moment = datetime.fromtimestamp(read_since(value) / 1000, UTC).astimezone(zone())
    except (ValueError, OverflowError, OSError):
        return f"{name.capitalize()} {value}"
    return f"{'Since' if name == 'since' else 'Before'} {moment.day} {moment:%b %Y, %H:%M}"


def _is_age(text: str) -> bool:
    return text[-1:] in UNITS and text[:-1].isascii() and text[:-1].isdigit() and len(text) <= 6


def _moment(text: str, where: tzinfo) -> int:
    """The value of a date and time field or, if it was typed, any time that a URL may have. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return read_since(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=where)).timestamp() * 1000)


def _problem(model: type[Request], name: str, value: str, checks: Mapping[str, Sequence[str]]) -> str:
    allowed = checks.get(name)
    if allowed is not None and value not in allowed:
        return f"must be {' or '.join(allowed)}"
    if name not in model.model_fields:
        return ""
    try:
        read(model, {name: value}, QUERY)
    except UnprocessableEntity as error:
        return (error.description or "is wrong").removeprefix(f"{name} ")
    return ""
