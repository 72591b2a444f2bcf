"""Parked events: what each lacks, filling it in, reprocessing what was chosen, dismissing and its undo."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic_core import CoreSchema, core_schema
from werkzeug.exceptions import NotFound, UnprocessableEntity

from app.intake.parked import work
from app.intake.parked.fill import FILLABLE
from app.intake.remap import Reprocessed, preview_parked, reprocess_parked
from app.ledger.engine import look
from app.ledger.parked.reading import ParkedSelection
from app.ledger.reading import events as reading_events
from app.text import storable
from app.web.api.actor import actor
from app.web.api.answers import ActionResult, Answer, Count, Outcome, Page, Time
from app.web.api.routes import Routes
from app.web.params import LONGEST_TEXT, Name, Number, Paging, Request, Text
from app.web.services import Parts

ROUTES = Routes()
MOST_IDS = 500
MOST_LISTED = 100
"""Events on one page: each is mapped again to say what it lacks."""


@dataclass(frozen=True, slots=True)
class _Exactly:
    """A boolean that is one of `values`, and nothing that merely looks like it."""

    values: tuple[bool, ...]

    def _check(self, value: Any) -> bool:
        if not isinstance(value, bool) or value not in self.values:
            raise ValueError(f"must be {' or '.join(str(allowed).lower() for allowed in self.values)}")
        return value

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "boolean", "enum": list(self.values)}


class _Value:
    """Text of a value, or "" to remove one."""

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_value)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "string", "maxLength": LONGEST_TEXT}


def _value(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"must be text of at most {LONGEST_TEXT} characters")
    return storable(value)


Ids = Annotated[list[Number], Field(min_length=1, max_length=MOST_IDS)]
Flag = Annotated[bool, _Exactly((True, False))]
Value = Annotated[str, _Value()]


class ParkedQuery(Paging):
    source: Name | None = None
    reason: Annotated[Text | None, Field(description="The exact reason.")] = None


class Choice(Request):
    """At least one of ids, source and all. Further fields narrow the choice."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["ids"]}, {"required": ["source"]}, {"required": ["all"]}]}
    )
    hint: ClassVar[str] = 'send {"ids": [7, 8]}, {"source": "shop"} or {"all": true}'
    ids: Annotated[Ids | None, Field(description="These events; those that are not parked are skipped.")] = None
    source: Annotated[Name | None, Field(description="All of this source.")] = None
    reason: Annotated[Text | None, Field(description="Only those with exactly this reason.")] = None
    all: Annotated[
        Annotated[bool, _Exactly((True,))] | None, Field(description="All parked events of all sources.")
    ] = None

    def selection(self) -> ParkedSelection:
        """The chosen events. Raises UnprocessableEntity if none were chosen."""
        if self.ids is None and self.source is None and not self.all:
            raise UnprocessableEntity(f"choose events: {self.hint}")
        return ParkedSelection(self.ids or (), self.source, self.reason)


class Reprocessing(Choice):
    dry_run: Annotated[Flag | None, Field(description="true: report what would happen, and write nothing.")] = None
    next: Annotated[Number | None, Field(description="`next` of the last answer, unless that was null.")] = None


class Values(Request):
    """Values of a parked event; "" removes one that was filled in."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    amount: Annotated[Value | None, Field(description='In major units: "149.50".')] = None
    currency: Value | None = None
    id: Annotated[Value | None, Field(description="Of the purchase or submission, by which it counts once.")] = None
    email: Value | None = None
    customer_id: Value | None = None
    phone: Value | None = None
    name: Value | None = None
    click_id: Value | None = None


class Dismissal(Request):
    hint: ClassVar[str] = 'send {"ids": [7], "why": "a test order"}'
    ids: Ids
    why: Annotated[Text, Field(description="The reason.")]


class Reopening(Request):
    hint: ClassVar[str] = 'send {"ids": [7]}'
    ids: Ids


class SimilarValue(Answer):
    path: str
    value: str
    usable: Annotated[bool, Field(description="It can be read as the missing value.")]


class MissingValue(Answer):
    field: Annotated[str, WithJsonSchema({"type": "string", "enum": list(FILLABLE)})]
    looked_for: Annotated[list[str], Field(description="Fields of the body that are read for it.")]
    similar: Annotated[list[SimilarValue], Field(description="Fields that the body has.")]
    line: Annotated[str, Field(description='A line for bridge.toml that reads it, or "".')]


class ParkedEvent(Answer):
    id: int
    source: str
    event_id: str
    event_type: str
    reason: str
    received_at: Time
    person_id: int | None
    amount: Annotated[
        int | float | str | None, Field(description="In major units; as the body has it without a currency.")
    ]
    currency: str | None
    email: str | None
    lacks: list[MissingValue]
    filled_in: Annotated[dict[str, str], WithJsonSchema({"type": "object"})]
    fillable: list[str]
    ready: Annotated[bool, Field(description="Nothing is missing as it is mapped now.")]
    problem: str


class ParkedGroup(Answer):
    source: str
    reason: str
    count: Count
    oldest: Time
    newest: Time


class ParkedPage(Page):
    groups: Annotated[list[ParkedGroup], Field(description="All parked events by source and reason, up to 10,000.")]
    events: list[ParkedEvent]


class Staying(Answer):
    reason: str
    count: Count


class ReprocessedEvents(Answer):
    dry_run: bool
    outcomes: Annotated[dict[str, int], WithJsonSchema({"type": "object"}), Field(description="How many became what.")]
    staying: Annotated[list[Staying], Field(description="Why events stay parked or cannot be read.")]
    next: Annotated[int | None, Field(description="Where to continue; null where all are done.")]


class FilledIn(ActionResult):
    outcome: Annotated[Outcome, Field(description="Of the event now.")]


class ChangedEvents(Answer):
    ids: Annotated[list[int], Field(description="The events that were changed; the others were skipped.")]


@ROUTES.get("/parked")
def parked_events(parts: Parts, query: ParkedQuery) -> ParkedPage:
    """List parked events, newest first, with what each lacks; at most 100 on a page."""
    selection = ParkedSelection((), query.source, query.reason)
    with look(parts.ledger) as tx:
        page = work.parked_work(
            tx, parts.sources, parts.policy, selection, before=query.before, limit=min(query.size, MOST_LISTED)
        )
    return ParkedPage.model_validate(
        {
            "groups": [asdict(entry) for entry in page.groups],
            "events": [asdict(entry) for entry in page.events],
            "next_before": page.next_before,
        }
    )


@ROUTES.get("/events/<path:event_id>/lacks")
def parked_event(parts: Parts, event_id: str) -> ParkedEvent:
    """Get what one parked event lacks."""
    with look(parts.ledger) as tx:
        known = reading_events.event_number(tx, event_id)
        event = None if known is None else work.parked_event(tx, parts.sources, parts.policy, known)
    if event is None:
        raise NotFound(f"there is no parked event {event_id}")
    return ParkedEvent.model_validate(asdict(event))


@ROUTES.post("/events/<path:event_id>/fill")
def fill_parked_event(parts: Parts, event_id: str, body: Values) -> FilledIn:
    """Fill in what a parked event lacks, and reprocess it. An invalid value changes nothing."""
    values = {name: value for name, value in body.model_dump().items() if value is not None}
    if not values:
        raise UnprocessableEntity('send the missing values, such as {"currency": "EUR"}')
    with look(parts.ledger) as tx:
        known = reading_events.event_number(tx, event_id)
    if known is None:
        raise NotFound(f"there is no event {event_id}")
    done = work.fill_in(parts.ledger, parts.sources, parts.policy, known, values, actor=actor())
    parts.nudge()
    return FilledIn(id=known, done=done.done, message=done.message, outcome=done.outcome)


@ROUTES.post("/parked/reprocess")
def reprocess_parked_events(parts: Parts, body: Reprocessing) -> ReprocessedEvents:
    """Reprocess the chosen parked events after a change of configuration, or preview the result."""
    selection = body.selection()
    if body.dry_run:
        return _answer(preview_parked(parts.ledger, parts.sources, parts.policy, selection), is_dry=True)
    reprocessed = reprocess_parked(
        parts.ledger, parts.sources, parts.policy, selection, actor=actor(), after=body.next or 0, seconds=10.0
    )
    parts.nudge()
    return _answer(reprocessed, is_dry=False)


@ROUTES.post("/parked/dismiss")
def dismiss_parked_events(parts: Parts, body: Dismissal) -> ChangedEvents:
    """Close parked events with a reason: they become ignored."""
    return ChangedEvents(ids=work.dismiss(parts.ledger, body.ids, body.why, actor=actor()))


@ROUTES.post("/parked/reopen")
def reopen_parked_events(parts: Parts, body: Reopening) -> ChangedEvents:
    """Undo a dismissal: the events are parked again."""
    return ChangedEvents(ids=work.reopen(parts.ledger, body.ids, actor=actor()))


def _answer(reprocessed: Reprocessed, *, is_dry: bool) -> ReprocessedEvents:
    staying = [Staying(reason=reason, count=count) for reason, count in reprocessed.staying]
    return ReprocessedEvents(
        dry_run=is_dry, outcomes=dict(reprocessed.outcomes), staying=staying, next=reprocessed.next
    )
