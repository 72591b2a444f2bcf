"""What /api/v1 answers, as pydantic models. Their names are those of the schemas in the OpenAPI document.

A value that only a later version knows (a new status, say) must not make an answer fail, so listed values are texts whose schema
names what this version writes.
"""

from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.ledger.reading.filters import KINDS
from app.ledger.reading.summary.problem import LEVELS
from app.model import OUTCOMES, STATUSES, AttemptResult

AnyObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Outcome = Annotated[str, WithJsonSchema({"type": "string", "enum": list(OUTCOMES)})]
Status = Annotated[str, WithJsonSchema({"type": "string", "enum": list(STATUSES)})]
Kind = Annotated[str, WithJsonSchema({"type": "string", "enum": list(KINDS)})]
Result = Annotated[str, WithJsonSchema({"type": "string", "enum": list(get_args(AttemptResult))})]
Level = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LEVELS)})]
Mark = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,18}-[0-9a-f]{8}$"})]
Tone = Annotated[str, WithJsonSchema({"type": "string", "enum": ["", "warn", "bad"]})]


class Answer(BaseModel):
    """An object with these fields and no others, as tests check; one that was forgotten here is answered all the same."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})
    skipped_status: ClassVar[int | None] = None
    """The HTTP status of the same object where nothing was done."""

    def status_code(self) -> int:
        return 200


class Page(Answer):
    """One page of a list. next_before is `before` of the next page, null at the end; until then a page may be short."""

    next_before: int | None


class Error(Answer):
    error: Annotated[str, Field(description="What is wrong, and what to do.")]


class ActionResult(Answer):
    skipped_status: ClassVar[int | None] = 409
    id: int
    done: bool
    message: str

    def status_code(self) -> int:
        return 200 if self.done else 409


class Event(Answer):
    id: int
    source: str
    event_id: Annotated[str, Field(description="The source's own ID.")]
    event_type: str
    outcome: Outcome
    reason: str
    conversion_id: int | None
    person_id: int | None
    received_at: Time
    received_count: Count
    last_received_at: Time
    destinations: Annotated[list[str], Field(description="Where its conversion's deliveries go.")]


class Delivery(Answer):
    id: int
    status: Status
    kind: Kind
    dedupe_key: str
    destination: str
    payload: Annotated[AnyObject, Field(description="What is sent, to the byte, in the destination's format.")]
    attempts: Count
    next_attempt_at: Time | None
    created_at: Time
    delivered_at: Time | None
    last_error: str | None
    last_status: int | None
    source: str
    event_id: Annotated[str, Field(description="The source's own ID of the event it came from.")]
    event_type: str
    event: Annotated[int, Field(description="The ledger's ID of that event.")]
    person_id: int
    conversion_id: int
    held: bool
    sending: bool
    amount: Annotated[int | float | None, Field(description="In major units of `currency`, whatever the format sends.")]
    currency: str | None
    invoice_id: str | None
    customer_id: str | None
    email: str | None
    omitted: Annotated[list[str], Field(description="What the format left out of the payload or shortened.")]
    note: Annotated[str | None, Field(description="What the destination's answer means beyond its status.")]


class WholeEvent(Event):
    headers: AnyObject
    body: str
    deliveries: list[Delivery]


class Attempt(Answer):
    number: int
    result: Result
    by_hand: bool
    started_at: Time
    duration_ms: Count
    status: int | None
    error: str | None
    answer_headers: AnyObject | None
    answer_body: str | None


class Adjustment(Answer):
    reference: str
    kind: Annotated[str, WithJsonSchema({"type": "string", "enum": ["refund", "dispute"]})]
    status: str
    amount_minor: int
    currency: str
    at: Time | None


class WholeDelivery(Delivery):
    attempt_list: list[Attempt]
    events: list[Event]
    marks: Annotated[list[Adjustment], Field(description="Refunds and disputes.")]
    waits_for: Annotated[int | None, Field(description="The person's open Lead that goes first.")]


class Person(Answer):
    id: int
    customer_id: str | None
    explicit_id: str | None
    provider_id: str | None
    email: str | None
    name: str | None
    phone: str | None
    click_first: str | None
    click_last: str | None
    clicks: Annotated[AnyObject, Field(description="Further click IDs, by the names in [attribution.clicks].")]
    created_at: Time
    merged_into: int | None


class Identifier(Answer):
    kind: str
    value: str
    seen_at: Time


class PersonEvent(Answer):
    id: int
    source: str
    event_id: str
    event_type: str
    outcome: Outcome
    reason: str
    received_at: Time
    received_count: Count


class StepDelivery(Answer):
    id: int
    status: Status
    held: bool
    destination: str


class Step(Answer):
    what: str
    at: Time | None
    text: str | None
    tone: Tone
    amount: str | None
    event: int | None
    deliveries: list[StepDelivery]
    key: str | None
    click: str | None
    event_name: str | None
    source: Annotated[str | None, Field(description="Of a conversion.")] = None
    event_type: Annotated[str | None, Field(description="Of a conversion.")] = None
    of: Annotated[list[StepDelivery] | None, Field(description="Of a refund or dispute: its Sale.")] = None
    is_id: Annotated[bool | None, Field(description="`text` is an ID.")] = None


class WholePerson(Person):
    identifiers: list[Identifier]
    attempted: bool
    forgotten_at: Time | None
    events: list[PersonEvent]
    journey: list[Step]
    why: Annotated[str, Field(description="Which customer ID is sent, and why.")]


class Forgotten(Answer):
    id: int
    events: Count
    deliveries: Count
    discarded: Count


class LastEvent(Answer):
    id: int
    at: Time


class Source(Answer):
    name: str
    title: str
    is_configured: bool
    is_signed: bool
    variable: str
    url: str
    last: LastEvent | None
    outcomes: dict[str, Count]
    refused: dict[str, Count]


class Sources(Answer):
    sources: list[Source]
    days: Annotated[Count, Field(description="The outcomes and refusals are those of so many days.")]


class Pauses(Answer):
    name: str
    paused_at: Time | None
    paused_reason: str | None
    failures: Count
    probe_at: Time | None
    is_open: Annotated[bool, Field(description="The breaker is open: one delivery at a time is tried.")]


class DestinationState(Pauses):
    is_used: Annotated[bool, Field(description="A worker has served it.")]
    waiting: Annotated[Count, Field(description="Open deliveries, up to 10,000.")]
    mode: Annotated[str, WithJsonSchema({"type": "string", "enum": ["live", "shadow"]})]


class Plain(Answer):
    requests: Annotated[Count, Field(description="One for each webhook of these conversions.")]
    twice: Annotated[Count, Field(description="Of these, beyond the first of a conversion.")]
    unpaid: Annotated[Count, Field(description="Further ones, for money that was not collected at that time.")]
    without_click: Annotated[
        Count, Field(description="Conversions whose click ID is known from earlier webhooks alone.")
    ]
    unidentified: Annotated[Count, Field(description="Conversions whose person a later webhook named.")]


class Reason(Answer):
    reason: str
    count: Count


class ShadowWeek(Answer):
    since: Time
    sales: Count
    leads: Count
    held: Count
    deduplicated: Count
    refused: Count
    reasons: list[Reason]
    plain: Annotated[Plain, Field(description="What a plain forwarder would have done.")]
    is_capped: bool


class Destination(DestinationState):
    shadow: Annotated[ShadowWeek | None, Field(description="Its last 7 days in shadow mode.")]


class Destinations(Answer):
    destinations: list[Destination]


class PauseResult(Answer):
    name: str
    done: Annotated[bool, Field(description="False where it was in that state already.")]
    message: str


class Line(Answer):
    id: int
    at: Time
    actor: str
    action: str
    subject: str
    detail: str


class Stats(Answer):
    deliveries: dict[str, Count]
    events: dict[str, Count]
    repeats: Count
    oldest_due_seconds: float | None
    workers_alive: Count
    destinations: list[Pauses]


class Problem(Answer):
    kind: str
    subject: str
    level: Level
    text: str
    remedy: str
    command: str
    path: Annotated[str, Field(description="The dashboard's page about it.")]
    since: Time | None
    count: Count | None


class LastDay(Answer):
    events: Count
    delivered: Count
    dead: Count


class Seconds(Answer):
    p50: float | None
    p95: float | None


class SeenSource(Answer):
    source: str
    id: int
    outcome: Outcome
    at: Time


class BridgeStatus(Answer):
    level: Annotated[Level | None, Field(description="Of the worst problem; null where nothing is wrong.")]
    headline: str
    problems: list[Problem]
    workers_alive: Count
    last_day: LastDay
    deliveries: Annotated[dict[str, Count], Field(description="By status, each up to 10,000.")]
    parked_events: Annotated[Count, Field(description="Up to 10,000.")]
    oldest_waiting_id: int | None
    oldest_waiting_seconds: float | None
    delivery_seconds: Annotated[Seconds, Field(description="From recorded to delivered, of the newest 1,000.")]
    destinations: list[DestinationState]
    sources: Annotated[list[SeenSource], Field(description="The last event of each.")]


class EventPage(Page):
    events: list[Event]


class DeliveryPage(Page):
    deliveries: list[Delivery]


class PersonPage(Page):
    persons: list[Person]


class AuditPage(Page):
    audit: list[Line]


class Bulk(Answer):
    """What one request of bulk work did. Being sent, or in another status by now: those were skipped."""

    left_alone: Count
    next: Annotated[int | None, Field(description="Send the same body with it to go on; null once all is done.")]


class Replayed(Bulk):
    replayed: Count


class Discarded(Bulk):
    discarded: Count
    mark: Annotated[Mark, Field(description="For POST undo, and for the next request of the same discard.")]


class Undone(Bulk):
    undone: Count


class Message(Answer):
    message: str


def fields_of(row: dict[str, Any], model: type[Answer]) -> dict[str, Any]:
    """Those fields of a row that the model has, where the row is of more than one use."""
    return {name: row[name] for name in model.model_fields}
