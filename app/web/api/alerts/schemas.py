"""What /api/v1 answers about alerts, as pydantic models; see schemas.py."""

from typing import Annotated, ClassVar

from pydantic import Field, WithJsonSchema

from app.config.bridge_toml import ALERT_KINDS
from app.web.api.answers import Answer, Count, Page, Time

AlertKindName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(ALERT_KINDS)})]


class Part(Answer):
    kind: AlertKindName
    subject: Annotated[str, Field(description="The name of a destination or source.")]
    text: str
    count: Count | None
    stake: Annotated[str, Field(description="The money at stake, by currency.")]
    began_at: Time
    over_at: Time | None


class NotificationAnswer(Answer):
    channel: str
    what: Annotated[str, WithJsonSchema({"type": "string", "enum": ["alert", "over"]})]
    state: Annotated[str, WithJsonSchema({"type": "string", "enum": ["sent", "waiting", "dropped"]})]
    sent_at: Time | None
    next_try_at: Time | None
    tries: Annotated[Count, Field(description="Those that failed.")]
    problem: str | None


class IncidentAnswer(Part):
    id: int
    reported_at: Time
    seconds: int
    path: Annotated[str, Field(description="The dashboard's page about it.")]
    parts: Annotated[list[Part], Field(description="What belongs to the same incident.")]
    notifications: list[NotificationAnswer]


class ChannelAnswer(Answer):
    channel: str
    target: str
    last_sent_at: Time | None
    waiting: Count
    problem: str | None


class AlertsPage(Page):
    incidents: list[IncidentAnswer]
    channels: Annotated[list[ChannelAnswer], Field(description="The configured ones; none: alerts are off.")]


class TrialAnswer(Answer):
    channel: str
    target: str
    done: bool
    message: str


class AlertTest(Answer):
    skipped_status: ClassVar[int | None] = 409
    done: Annotated[bool, Field(description="Every channel accepted the test.")]
    message: str
    results: list[TrialAnswer]

    def status_code(self) -> int:
        return 200 if self.results else 409
