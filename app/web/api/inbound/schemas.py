"""What /api/v1 answers about refused requests, as pydantic models; see schemas.py."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from app.ledger.inbound.refused import REASONS
from app.web.api.answers import Answer, Count, Page, Time

RefusalReason = Annotated[str, WithJsonSchema({"type": "string", "enum": list(REASONS)})]


class Bars(Answer):
    start: Time
    seconds: Annotated[Count, Field(description="How long each bar is.")]
    counts: list[Count]


class RefusedDetail(Answer):
    message: str
    client: Annotated[str, Field(description="The network that it came from.")]
    header: Annotated[str, Field(description="The headers that carry the signature.")]
    has_header: bool | None
    skew_seconds: Annotated[int | None, Field(description="How old its signature was; negative for the future.")]
    size: Count | None
    content_type: str
    user_agent: str


class RefusedGroup(Answer):
    source: str
    title: str
    reason: RefusalReason
    name: Annotated[str, Field(description="The reason in words.")]
    count: Count
    first: Time
    last: Time
    remedy: str
    redeliver: Annotated[str, Field(description="Where the provider sends them again.")]
    quarantined: Annotated[Count, Field(description="Requests of this source in the quarantine.")]
    detail: Annotated[RefusedDetail | None, Field(description="What was wrong with the last one.")]
    bars: Annotated[Bars, Field(description="The requests over time.")]


class Refusals(Answer):
    refusals: list[RefusedGroup]


class HeldRequest(Answer):
    id: int
    source: str
    received_at: Time
    last_at: Time
    count: Annotated[Count, Field(description="How often the same request came.")]
    client: Annotated[str, Field(description="The network that it came from.")]
    reason: str
    problem: Annotated[str | None, Field(description="Why it was refused when it was verified again.")]
    size: Count


class HeldPage(Page):
    quarantine: list[HeldRequest]
    counts: Annotated[dict[str, Count], Field(description="By source.")]


class WholeHeldRequest(HeldRequest):
    headers: dict[str, str]
    body: Annotated[str, Field(description="What is not UTF-8 is replaced.")]


class VerifiedAgain(Answer):
    taken: Annotated[Count, Field(description="Requests that were accepted.")]
    outcomes: Annotated[dict[str, Count], Field(description="What became of them.")]
    refused: Annotated[Count, Field(description="Requests that stay.")]
    problems: Annotated[dict[str, str], Field(description="Why, by ID.")]
    next: Annotated[int | None, Field(description="Send it with the same body to continue; null when done.")]


class Dropped(Answer):
    dropped: Count
