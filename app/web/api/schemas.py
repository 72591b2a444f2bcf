"""The answers of /api/v1 as pydantic models. Their names are the schema names in the OpenAPI document.

A value that only a later version knows, such as a new status, must not make an answer fail. So enumerated values are plain
text, and their schema lists what this version writes.
"""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from app.web.api.answers import Answer, AnyObject, Count, Kind, Mark, Outcome, Page, Result, Status, Time, Tone


class Sent(Answer):
    id: int
    destination: str
    status: Status
    held: bool


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
    amount: Annotated[int | float | None, Field(description="Of its conversion, in major units.")]
    currency: str | None
    customer_id: str | None
    email: str | None
    sent: Annotated[list[Sent], Field(description="The deliveries of its conversion.")]
    destinations: Annotated[list[str], Field(description="Where its conversion's deliveries go.")]


class Refund(Answer):
    id: str
    left: Annotated[int | float, Field(description="What is left of the Sale then.")]
    restored: Annotated[bool, Field(description="The money counts again.")]


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
    has_click: Annotated[bool | None, Field(description="A click ID is known; null for refunds and older records.")]
    refund: Annotated[Refund | None, Field(description="Of a refund, whose `amount` is what went back.")]


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
    net: Annotated[int | float | None, Field(description="What is left of the Sale, where some of it went back.")]
    refunds: Annotated[list[Delivery], Field(description="The deliveries of a Sale's refunds.")]
    sale: Annotated[int | None, Field(description="The delivery of the Sale that a refund belongs to.")]
    waits_for: Annotated[int | None, Field(description="What goes first: the person's open Lead, or a refund's Sale.")]


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
    events: list[Event]
    journey: list[Step]
    why: Annotated[str, Field(description="Which customer ID is sent, and why.")]


class Forgotten(Answer):
    id: int
    events: Count
    deliveries: Count
    discarded: Count


class Line(Answer):
    id: int
    at: Time
    actor: str
    action: str
    subject: str
    detail: str
    group: Annotated[bool, Field(description="Many changes at once: `part_of` with this ID lists them.")]


class EventPage(Page):
    events: list[Event]


class DeliveryPage(Page):
    deliveries: list[Delivery]


class PersonPage(Page):
    persons: list[Person]


class AuditPage(Page):
    audit: list[Line]


class Bulk(Answer):
    """The result of one bulk request. Deliveries that are being sent, or whose status changed, are skipped (`left_alone`)."""

    left_alone: Count
    next: Annotated[int | None, Field(description="Send it with the same body to continue; null when done.")]


class Replayed(Bulk):
    replayed: Count


class Discarded(Bulk):
    discarded: Count
    mark: Annotated[Mark, Field(description="For POST undo, and for the next request of the same discard.")]


class Undone(Bulk):
    undone: Count


class Message(Answer):
    message: str
