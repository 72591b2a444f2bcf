"""The tables [attribution], [alerts] and [retention] of bridge.toml, and how such a table is read."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import ConfigurationError
from app.model import CLICK_ID_NAMES, CUSTOMER_ID_NAMES

Table = TypeVar("Table", bound=BaseModel)
AlertKind = Literal["dead", "paused", "down", "late", "silent", "refused"]
ALERT_KINDS: tuple[AlertKind, ...] = ("dead", "paused", "down", "late", "silent", "refused")


class AttributionTable(BaseModel):
    """Under which names ids are looked for, in this order, and which click counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    touch: Literal["first", "last"] = "first"
    click_id: tuple[str, ...] = CLICK_ID_NAMES
    customer_id: tuple[str, ...] = CUSTOMER_ID_NAMES
    reference_prefixes: tuple[str, ...] = ("clk_", "clickid_")
    """A Stripe client_reference_id that begins with one of these is a click id, kept whole."""
    reference_prefixes_cut: tuple[str, ...] = ("dub_id_",)
    """The same, with the prefix cut off."""


class AlertTable(BaseModel):
    """When somebody is told. The URL is a secret, so the table only names the variable that holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url_env: str = Field("ALERT_WEBHOOK_URL", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    kinds: tuple[AlertKind, ...] = ALERT_KINDS
    gather_seconds: float = Field(60, ge=0, le=3600)
    """How long a trouble stands before it is told, so that one message holds what comes at once."""
    dead: int = Field(1, ge=1)
    """Deliveries to one destination that died."""
    quiet_hours: float = Field(6, gt=0, le=168)
    """After so long without another one, those that are still dead are no outage any more."""
    down_minutes: float = Field(10, ge=0, le=1440)
    """How long a destination takes nothing (its breaker is open)."""
    late_minutes: float = Field(10, gt=0, le=1440)
    """How long a delivery that may be sent is not: no worker, or too few of them."""
    silence_factor: float = Field(2, ge=1, le=100)
    """Times the longest usual pause of that source."""
    silence_floor_minutes: float = Field(60, ge=15, le=43200)
    """Shorter pauses are not measured: nobody is silent before silence_factor times this."""
    refused: int = Field(10, ge=1)
    """Requests of one source that were refused within the last one to two hours …"""
    refused_factor: float = Field(5, ge=1, le=1000)
    """… and so many times more than in two usual hours of the week before."""
    not_sources: tuple[str, ...] = ()
    """Sources that are silent as they please."""


class RetentionTable(BaseModel):
    """After how many days what is kept; None keeps it for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bodies_days: float | None = Field(None, ge=1)
    """Bodies and headers of events are blanked; the events stay."""
    answers_days: float | None = Field(None, ge=1)
    """Headers and bodies of the destination's answers are blanked; the attempts stay."""
    attempts_days: float | None = Field(None, ge=1)
    """Attempts of closed deliveries."""
    deliveries_days: float | None = Field(None, ge=1)
    """Closed deliveries with their attempts."""
    events_days: float | None = Field(None, ge=1)
    """Events of which nothing is open; a repeat of one is still known by its purchase's or submission's id."""
    audit_days: float | None = Field(None, ge=1)
    refusals_days: float | None = Field(None, ge=1)


def read_table(model: type[Table], config: Mapping[str, Any], path: object, name: str) -> Table:
    """config[name] as a `model`, with its defaults. Raises ConfigurationError that names file and key."""
    try:
        return model.model_validate(config.get(name, {}))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigurationError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
