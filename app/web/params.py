"""Query parameters and JSON bodies as pydantic models, each read strictly.

The pages, the API and its OpenAPI document share them. Invalid input is a 422 with a message that names the field.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import CoreSchema, core_schema
from werkzeug.exceptions import UnprocessableEntity, UnsupportedMediaType

from app.config.bridge_toml import ALERT_KINDS
from app.ledger.alerting.history import STATES, HistoryFilter
from app.ledger.inbound.refused import REASONS, RefusalFilter
from app.ledger.reading import filters
from app.ledger.reading.filters import EventFilter, Filter
from app.model import OUTCOMES, STATUSES
from app.text import storable
from app.times import read_since
from app.web.auth import is_viewer
from app.web.preferences import midnights

LARGEST_PAGE = 500
LARGEST_NUMBER = 2**62 - 1
LONGEST_TEXT = 512
LONGEST_NUMERAL = 19
QUERY = "query"
"""The validation context for query parameters, whose values are all text."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """Text that is one of `values`."""

    values: tuple[str, ...]

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.values:
            raise ValueError(f"must be one of {', '.join(self.values)}")
        return value

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`. JSON does not tell 7 from 7.0; a query has digits only."""

    least: int
    most: int

    def _check(self, value: Any, info: ValidationInfo) -> int:
        if info.context == QUERY and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value) if len(value) <= LONGEST_NUMERAL else self.most + 1
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.least <= value <= self.most or value != value // 1:
            raise ValueError(f"must be a whole number from {self.least} to {self.most}")
        return int(value)

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text that matches `pattern` whole; `problem` says what it must be."""

    pattern: str
    problem: str

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise ValueError(self.problem)
        return value

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.pattern}$"}


class _Moment:
    """A time as people type it; read as ms since 1970."""

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_moment)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,5}[mhd]$"},
                {"type": "string", "format": "date"},
                {"type": "string", "format": "date-time"},
            ]
        }


class _Text:
    """1 to 512 characters, as every database can store them."""

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_text)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}


def _moment(value: Any) -> int:
    try:
        return read_since(value)
    except OverflowError:
        raise ValueError("is out of range") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
        raise ValueError(f"must be text of 1 to {LONGEST_TEXT} characters")
    return storable(value)


Name = Annotated[str, Pattern("[a-z0-9_-]{1,100}", "must be a name of a-z, 0-9, - and _")]
Number = Annotated[int, Whole(1, LARGEST_NUMBER)]
Moment = Annotated[int, _Moment()]
Text = Annotated[str, _Text()]
NoClick = Annotated[str, OneOf(("none",))]


class Request(BaseModel):
    """The parameters of a query, or the fields of a body: these and no others. An optional one is left out, not null."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hint: ClassVar[str] = ""
    """What to send, for a body that lacks what it needs."""

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name, value in values.items():
                if value is None and name in cls.model_fields:
                    raise ValueError(f"{name} is null: leave it out")
        return values


class NoQuery(Request):
    """A route without parameters."""


class Paging(Request):
    limit: Annotated[Number, Field(description="At most 500 are returned.")] = 100
    before: Annotated[Number | None, Field(description="Only IDs below this one: next_before of the last page.")] = None

    @property
    def size(self) -> int:
        return min(self.limit, LARGEST_PAGE)


class Window(Request):
    """What the filters of deliveries and of events have in common."""

    source: Name | None = None
    destination: Name | None = None
    since: Annotated[
        Moment | None, Field(description="Recorded since: 2026-04-10, 2026-04-10T12:00:00Z, or an age: 90m, 24h, 7d.")
    ] = None
    until: Annotated[Moment | None, Field(description="Recorded before; as since.")] = None
    q: Annotated[
        Text | None,
        Field(description="An email address, phone number, name or ID of any kind: whole, or how it begins."),
    ] = None
    click: Annotated[NoClick | None, Field(description="none: only what carries no click ID.")] = None


class DeliveryFilter(Window):
    status: Annotated[str, OneOf(STATUSES)] | None = None
    kind: Annotated[str, OneOf(filters.KINDS)] | None = None
    code: Annotated[Annotated[int, Whole(100, 599)] | None, Field(description="The destination's last status.")] = None

    def as_filter(self, statuses: tuple[str, ...] = STATUSES) -> Filter:
        """statuses: those that match where none is asked for."""
        return Filter(
            statuses=(self.status,) if self.status else statuses,
            source=self.source,
            kind=self.kind,
            destination=self.destination,
            code=self.code,
            since=self.since,
            until=self.until,
            text=self.q or "",
            whole_addresses=is_viewer(),
            click=self.click,
        )


class EventsFilter(Window):
    outcome: Annotated[str, OneOf(OUTCOMES)] | None = None

    def as_filter(self) -> EventFilter:
        return EventFilter(
            outcome=self.outcome,
            source=self.source,
            destination=self.destination,
            since=self.since,
            until=self.until,
            text=self.q or "",
            whole_addresses=is_viewer(),
            click=self.click,
        )


class RefusalsQuery(Request):
    source: Name | None = None
    reason: Annotated[str, OneOf(REASONS)] | None = None
    since: Annotated[
        Moment | None, Field(description="Refused since; the last 7 days by default. Counts are of whole hours.")
    ] = None

    def as_filter(self) -> RefusalFilter:
        return RefusalFilter(self.source, self.reason, self.since)


class AlertsQuery(Paging):
    state: Annotated[str, OneOf(STATES)] | None = None
    kind: Annotated[str, OneOf(ALERT_KINDS)] | None = None
    subject: Annotated[Name | None, Field(description="The name of a destination or source.")] = None
    since: Annotated[Moment | None, Field(description="Began since; as in other lists.")] = None
    until: Annotated[Moment | None, Field(description="Began before; as since.")] = None

    def as_filter(self) -> HistoryFilter:
        return HistoryFilter(self.state, self.kind, self.subject, self.since, self.until)


Asked = TypeVar("Asked", bound=Request)
FILTER = tuple(DeliveryFilter.model_fields)
EVENTS_FILTER = tuple(EventsFilter.model_fields)
REFUSALS_FILTER = tuple(RefusalsQuery.model_fields)
ALERTS_FILTER = ("state", "kind", "subject", "since", "until")


def read(model: type[Asked], values: Mapping[str, Any], context: str | None = None) -> Asked:
    """`values` as the model. Raises UnprocessableEntity that names the first field that is wrong."""
    try:
        return model.model_validate(dict(values), context=context)
    except ValidationError as error:
        raise UnprocessableEntity(_problem(model, error, context)) from None


def query_of(model: type[Asked]) -> Asked:
    """The query parameters of the request; of one that is repeated, the first. Raises UnprocessableEntity."""
    return read(model, request.args.to_dict(), QUERY)


def body_of(model: type[Asked]) -> Asked:
    """The JSON body of the request. Raises UnprocessableEntity or UnsupportedMediaType."""
    body = request.get_data()
    if request.mimetype and request.mimetype != "application/json" and body:
        raise UnsupportedMediaType("send JSON, with Content-Type: application/json")
    try:
        values = json.loads(body, parse_constant=_no_number) if body else None
    except (ValueError, RecursionError):
        raise UnprocessableEntity("the body is not JSON") from None
    if not isinstance(values, dict):
        raise UnprocessableEntity(f"send a JSON object with {', '.join(model.model_fields)}")
    return read(model, values)


def filter_of(fields: Mapping[str, Any], statuses: tuple[str, ...] = STATUSES) -> Filter:
    """The filter in the fields of a form; other fields are ignored. Raises UnprocessableEntity."""
    asked = {name: value for name, value in midnights(fields).items() if name in FILTER}
    return read(DeliveryFilter, asked, QUERY).as_filter(statuses)


def events_asked(fields: Mapping[str, Any]) -> EventFilter:
    """The same for events. Raises UnprocessableEntity."""
    asked = {name: value for name, value in midnights(fields).items() if name in EVENTS_FILTER}
    return read(EventsFilter, asked, QUERY).as_filter()


def refusals_asked(fields: Mapping[str, Any]) -> RefusalFilter:
    """The same for refused requests. Raises UnprocessableEntity."""
    asked = {name: value for name, value in fields.items() if name in REFUSALS_FILTER}
    return read(RefusalsQuery, asked, QUERY).as_filter()


def alerts_asked(fields: Mapping[str, Any]) -> HistoryFilter:
    """The same for incidents. Raises UnprocessableEntity."""
    asked = {name: value for name, value in fields.items() if name in ALERTS_FILTER}
    return read(AlertsQuery, asked, QUERY).as_filter()


def source_asked(fields: Mapping[str, Any]) -> str | None:
    """The source in the fields of a form or query; None if none is chosen. Raises UnprocessableEntity."""
    asked = {"source": fields["source"]} if fields.get("source") else {}
    return read(RefusalsQuery, asked, QUERY).source


def filled(names: Iterable[str]) -> dict[str, str]:
    """The query parameters of these names that were filled in: a form sends all its fields."""
    return {name: value for name in names if (value := storable(request.args.get(name, "").strip()))}


def before_asked() -> int | None:
    """The query parameter `before` of a page. Raises UnprocessableEntity."""
    return read(Paging, {k: v for k, v in request.args.items() if k == "before"}, QUERY).before


def number_in(form: Mapping[str, str], name: str) -> int | None:
    """The number in a hidden field of a form; None where there is none."""
    text = form.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _problem(model: type[Request], error: ValidationError, context: str | None) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = storable(str(first["loc"][0]))[:100] if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        noun = "parameter" if context == QUERY else "field"
        known = ", ".join(model.model_fields)
        return f"unknown {noun} {name}: " + (f"known are {known}" if known else "there are none here")
    if first["type"] == "missing":
        return f"{name} is missing" + (f": {model.hint}" if model.hint else "")
    text = str(first["msg"]).removeprefix("Value error, ")
    return f"{name} {text}" if name else text


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
