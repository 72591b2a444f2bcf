"""What POST map and POST map/compare take and answer."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator
from pydantic_core import CoreSchema, core_schema

from app.intake.playground.mapping_text import LONGEST_TEXT
from app.web.api.answers import Answer, AnyObject, Count
from app.web.params import Name, Number, Request, Whole


class _LongText:
    """Text of any length that a request may have."""

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.str_schema(strict=True)


class _Headers:
    """Names and values, both text."""

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        text = core_schema.str_schema(strict=True)
        return core_schema.dict_schema(text, text, max_length=100)


LongText = Annotated[str, _LongText()]
Headers = Annotated[dict[str, str], _Headers()]
Toml = Annotated[str, _LongText(), Field(max_length=LONGEST_TEXT)]


class Body(Request):
    """A body (with source), or an event that the ledger has."""

    source: Name | None = None
    body: Annotated[LongText | None, Field(description="The raw body. Needs source.")] = None
    headers: Annotated[Headers | None, Field(description="Of the request; content-type is JSON unless named.")] = None
    event: Annotated[Number | None, Field(description="The ledger's ID of an event, instead of source and body.")] = (
        None
    )
    mapping: Annotated[
        Toml | None, Field(description="TOML with [sources.NAME] and [attribution], instead of those of bridge.toml.")
    ] = None
    ledger: Annotated[bool | None, Field(strict=True, description="Whether to use what the ledger knows (true).")] = (
        None
    )

    @model_validator(mode="after")
    def _is_one(self) -> "Body":
        if (self.event is None) == (self.body is None) or (self.event is None) == (self.source is None):
            raise ValueError("send source and body, or event")
        return self


class Comparison(Request):
    source: Name
    mapping: Annotated[Toml, Field(description="TOML with [sources.NAME] and [attribution], to try.")]
    last: Annotated[Annotated[int, Whole(1, 100)] | None, Field(description="How many of its newest events (100).")] = (
        None
    )


Outcome = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "enum": ["sale", "lead", "pending", "ignored", "parked", "duplicate", "rejected"]}
    ),
]


class Known(Answer):
    outcome: Outcome
    reason: str


class AtDestination(Answer):
    name: str
    request: Annotated[AnyObject | None, Field(description="method, url, headers (masks for secrets), body.")]
    payload: AnyObject | None
    omitted: list[str]
    origins: Annotated[AnyObject, Field(description="As those of the whole answer, by paths in payload.")]
    not_sent: Annotated[str | None, Field(description="Why nothing is sent.")]
    delivery: Annotated[int | None, Field(description="The delivery that is recorded already.")]
    status: str | None


class MappedBody(Answer):
    source: str
    outcome: Outcome
    reason: str
    event_id: str | None
    event_type: str | None
    dedupe_keys: list[str]
    payload: Annotated[AnyObject | None, Field(description="In the format `events`.")]
    events: Annotated[Count, Field(description="How many the request holds. The first is shown.")]
    origins: Annotated[
        AnyObject,
        Field(
            description="Where each value comes from, by its path: {from, fields}. A constant's field is its setting."
        ),
    ]
    deciding: Annotated[list[str], Field(description="Fields of which another value changes the outcome.")]
    tried: Annotated[Count, Field(description="How many fields were tried …")]
    fields: Annotated[Count, Field(description="… of how many.")]
    known: Annotated[Known | None, Field(description="The outcome with what the ledger knows.")]
    destinations: list[AtDestination]


class Changed(Answer):
    name: str
    before: Annotated[Any, WithJsonSchema({})]
    after: Annotated[Any, WithJsonSchema({})]


class Example(Answer):
    event: int
    reason_before: str
    reason_after: str
    values: list[Changed]


class Group(Answer):
    before: Outcome
    after: Outcome
    count: Count
    fields: list[str]
    examples: list[Example]


class LeftOut(Answer):
    removed: Annotated[Count, Field(description="Their body was removed, by retention or an erasure.")]
    too_large: Annotated[Count, Field(description="All bodies together are too large.")]
    too_late: Annotated[Count, Field(description="Time ran out.")]


class Compared(Answer):
    source: str
    compared: Count
    unchanged: Count
    groups: list[Group]
    more_groups: Count
    left_out: LeftOut
    mapping: str
