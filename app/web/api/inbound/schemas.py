"""What /api/v1 answers about refused requests, as pydantic models; see schemas.py."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from app.ledger.inbound.refused import REASONS
from app.web.api.answers import Answer, Count, Time

RefusalReason = Annotated[str, WithJsonSchema({"type": "string", "enum": list(REASONS)})]


class Bars(Answer):
    start: Time
    seconds: Annotated[Count, Field(description="How long each bar is.")]
    counts: list[Count]


class RefusedGroup(Answer):
    source: str
    title: str
    reason: RefusalReason
    name: Annotated[str, Field(description="The reason in words.")]
    count: Count
    first: Time
    last: Time
    remedy: str
    bars: Annotated[Bars, Field(description="The requests over time.")]


class Refusals(Answer):
    refusals: list[RefusedGroup]
