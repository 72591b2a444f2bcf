"""What /api/v1 answers about sources, destinations and the bridge itself, as pydantic models; see schemas.py."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from app.web.api.answers import Answer, Count, Level, Outcome, Time


class SentInBar(Answer):
    by_status: dict[str, Count]
    p50: Annotated[float | None, Field(description="Seconds from recorded to delivered, within an eighth.")]
    p95: float | None


class Bar(Answer):
    since: Time
    until: Time
    received: Annotated[dict[str, Count], Field(description="Events by outcome.")]
    sent: Annotated[dict[str, SentInBar], Field(description="Deliveries recorded then, by destination.")]
    is_whole: Annotated[bool, Field(description="False where not all of it is counted yet.")]


class Traffic(Answer):
    bars: Annotated[list[Bar], Field(description="Oldest first; the last one is not over.")]


class LastEvent(Answer):
    id: int
    at: Time


class RefusedRequest(Answer):
    reason: str
    at: Time
    count: Annotated[Count, Field(description="Refused for this reason within the last days.")]


class Silence(Answer):
    seconds: Annotated[float, Field(description="Since its last event.")]
    usual_seconds: Annotated[float | None, Field(description="Between two events; null where too little is known.")]
    is_unusual: Annotated[bool, Field(description="Much longer than its longest usual pause.")]


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
    last_refusal: RefusedRequest | None
    quarantined: Annotated[Count, Field(description="Refused requests that can be verified again.")]
    silence: Annotated[Silence | None, Field(description="Of a configured source that has sent something.")]


class Sources(Answer):
    sources: list[Source]
    days: Annotated[Count, Field(description="The outcomes and refusals are those of so many days.")]


class SeenEvent(Answer):
    id: int
    at: Time
    outcome: Outcome
    reason: str
    event_type: str


class SourceFinding(Answer):
    level: Annotated[str, WithJsonSchema({"type": "string", "enum": ["ok", "warn", "wrong"]})]
    text: str


class SourceSetUp(Answer):
    name: str
    title: str
    stage: Annotated[
        str,
        Field(description="off: not configured; waiting: no event yet that is not a test; receiving."),
        WithJsonSchema({"type": "string", "enum": ["off", "waiting", "receiving"]}),
    ]
    variable: str
    url: Annotated[str, Field(description="Without its token, where it carries one.")]
    first: SeenEvent | None
    last: SeenEvent | None
    test: Annotated[SeenEvent | None, Field(description="The last marked test among the newest events.")]
    refused: Annotated[RefusedRequest | None, Field(description="The last request that was refused.")]
    findings: list[SourceFinding]


class SetUpStep(Answer):
    key: str
    title: str
    is_done: bool
    text: str


class SetUp(Answer):
    steps: list[SetUpStep]


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


class ReloadAnswer(Answer):
    role: str
    host: str
    pid: Count
    answered: Annotated[bool, Field(description="False where it did not answer within ten seconds.")]
    problem: Annotated[str | None, Field(description="Why it kept its configuration.")]
    changed: Annotated[list[str], Field(description="Names of settings, never their values.")]
    needs_restart: Annotated[list[str], Field(description="Settings whose new value waits for a restart.")]


class ReloadResult(Answer):
    done: Annotated[bool, Field(description="Every process took the configuration over.")]
    message: str
    processes: list[ReloadAnswer]


class Stats(Answer):
    deliveries: dict[str, Count]
    events: dict[str, Count]
    repeats: Count
    oldest_due_seconds: float | None
    workers_alive: Count
    destinations: list[Pauses]
    level: Annotated[Level | None, Field(description="Of the worst problem; null where nothing is wrong.")]
    headline: str
    problems: "list[Problem]"


class Amount(Answer):
    amount: float
    currency: str


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
    money: Annotated[list[Amount], Field(description="The Sales of its deliveries, by currency.")]
    money_is_capped: Annotated[bool, Field(description="There are more Sales than `money` adds up.")]


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
    last_day: Annotated[LastDay, Field(description="The last 24 hours: each count up to 100,000.")]
    deliveries: Annotated[dict[str, Count], Field(description="By status, each up to 10,000.")]
    money: Annotated[
        dict[str, list[Amount]], Field(description="The Sales of dead, retrying and pending ones, by currency.")
    ]
    parked_events: Annotated[Count, Field(description="Up to 10,000.")]
    oldest_waiting_id: int | None
    oldest_waiting_seconds: float | None
    delivery_seconds: Annotated[Seconds, Field(description="From recorded to delivered, of the newest 1,000.")]
    destinations: list[DestinationState]
    sources: Annotated[list[SeenSource], Field(description="The last event of each.")]
