"""The answers about what support asks, as pydantic models."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from app.intake.credit.why import LEVELS
from app.web.api.answers import Answer, Count, Time
from app.web.api.schemas import Delivery, Event


class WhyFinding(Answer):
    level: Annotated[str, WithJsonSchema({"type": "string", "enum": list(LEVELS)})]
    text: str
    next_step: str
    path: Annotated[str, Field(description="The page about it.")]


class SentDelivery(Delivery):
    click: Annotated[str | None, Field(description="The click ID that it carries.")]
    no_click: Annotated[str | None, Field(description="Why it carries none.")]
    answer: Annotated[str | None, Field(description="The body of the destination's last answer.")]


class CreditedPerson(Answer):
    id: int
    name: str | None
    email: str | None
    customer_id: str | None
    click_first: str | None
    click_last: str | None


class WhyAnswer(Answer):
    findings: Annotated[list[WhyFinding], Field(description="The worst first.")]
    people: list[CreditedPerson]
    events: Annotated[list[Event], Field(description="What was received, at most 50.")]
    deliveries: Annotated[list[SentDelivery], Field(description="What was sent, at most 50.")]


class ClickShare(Answer):
    sales: Count
    with_click: Count
    percent: Annotated[int | None, Field(description="Rounded down; null without Sales.")]


class SourceShare(ClickShare):
    source: str


class CoverageWeek(Answer):
    start: Annotated[Time, Field(description="Monday, 0:00 UTC.")]
    end: Time
    total: ClickShare
    sources: list[SourceShare]


class CoverageAnswer(Answer):
    last_7_days: ClickShare
    before: Annotated[ClickShare, Field(description="The 7 days before.")]
    change: Annotated[int | None, Field(description="In percentage points; null where either had no Sale.")]
    weeks: Annotated[list[CoverageWeek], Field(description="The last 8, the present one first.")]
