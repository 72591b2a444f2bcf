"""bridge.toml: its tables [attribution], [alerts] and [retention], what its sources say of their Leads, and how it is read."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from app.config.setting_types import VariableName
from app.config.wording import what_is_wrong
from app.errors import ConfigurationError
from app.model import CLICK_FIELDS, CLICK_ID_NAMES, CUSTOMER_ID_NAMES, ClickFields, Rules

Table = TypeVar("Table", bound=BaseModel)
AlertKind = Literal["dead", "paused", "down", "late", "silent", "refused"]
ClickName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]
FieldName = Annotated[str, Field(min_length=1, max_length=300)]
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
    clicks: dict[ClickName, tuple[FieldName, ...]] = Field(default_factory=dict)
    """Click ids that a person keeps beside the main one: more names than the defaults, or other fields for one of these."""

    @property
    def click_fields(self) -> ClickFields:
        """The defaults with what `clicks` adds and replaces. One that has no fields is not kept."""
        return tuple((name, fields) for name, fields in (dict(CLICK_FIELDS) | self.clicks).items() if fields)

    @property
    def click_names(self) -> tuple[str, ...]:
        """What expressions of a template may name below `click`."""
        return tuple(name for name, _ in self.click_fields)

    def applied_to(self, rules: Rules) -> Rules:
        """`rules` with these names."""
        prefixes = [(prefix, True) for prefix in self.reference_prefixes]
        prefixes += [(prefix, False) for prefix in self.reference_prefixes_cut]
        return replace(
            rules,
            click_id_names=self.click_id,
            customer_id_names=self.customer_id,
            clicks=self.click_fields,
            reference_click_prefixes=tuple(prefixes),
        )


class AlertTable(BaseModel):
    """When an alert is sent. The URL is a secret, so the table only names the variable that holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url_env: VariableName = "ALERT_WEBHOOK_URL"
    kinds: tuple[AlertKind, ...] = ALERT_KINDS
    gather_seconds: float = Field(60, ge=0, le=3600)
    """How long a trouble stands before it is reported, so that one message holds what comes at once."""
    dead: int = Field(1, ge=1)
    """Deliveries to one destination that died."""
    quiet_hours: float = Field(6, gt=0, le=168)
    """After so long without another one, those that are still dead are not an outage any more."""
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
    """Sources that are exempt from this alert."""


def _forever(value: object) -> object:
    return None if value == "forever" else value


Days = Annotated[Annotated[float, Field(ge=1)] | None, BeforeValidator(_forever)]


class RetentionTable(BaseModel):
    """After how many days what is removed; None keeps it forever. DEFAULT_DAYS applies to what bridge.toml does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bodies_days: Days = None
    """Bodies and headers of events are blanked; the events stay."""
    answers_days: Days = None
    """Headers and bodies of the destination's answers are blanked; the attempts stay."""
    attempts_days: Days = None
    """Attempts of closed deliveries."""
    deliveries_days: Days = None
    """Closed deliveries with their attempts."""
    events_days: Days = None
    """Events of which nothing is open; a repeat of one is still known by its purchase's or submission's id."""
    conflicts_days: Days = None
    marks_days: Days = None
    """Refunds and disputes of purchases that have no delivery any more."""
    audit_days: Days = None
    alerts_days: Days = None
    """Incidents that are over, and what was sent of them."""
    refusals_days: Days = None
    quarantine_days: Days = None
    """Requests that were refused for their signature."""
    sandbox_days: Days = None
    workers_days: Days = None
    """Workers that stopped."""


DEFAULT_DAYS: Mapping[str, float] = {
    "bodies_days": 180,
    "answers_days": 90,
    "attempts_days": 400,
    "deliveries_days": 730,
    "events_days": 730,
    "conflicts_days": 730,
    "marks_days": 1095,
    "audit_days": 1095,
    "alerts_days": 730,
    "refusals_days": 180,
    "quarantine_days": 14,
    "sandbox_days": 30,
    "workers_days": 30,
}


class LeadTable(BaseModel):
    """What [sources.<name>] may say of a source's Leads, built in or not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead_mode: Literal["none", "deferred"] = "none"
    verified_by: tuple[str, ...] = ("stripe",)
    """Sources whose conversions show that the address is verified, beside those events of the source itself that say so."""


TRUTH = TypeAdapter(bool)
LEAD_KEYS = frozenset(LeadTable.model_fields)
TABLES = ("attribution", "alerts", "retention", "destinations", "sources")


def read_config(path: Path, *, is_named: bool) -> Mapping[str, Any]:
    """The whole file, or {} where there is none. Raises ConfigurationError that names the file, and what is wrong in it.

    is_named: BRIDGE_CONFIG says that it is there.
    """
    if not path.exists():
        if is_named:
            raise ConfigurationError(f"BRIDGE_CONFIG names {path}, which does not exist")
        return {}
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    unknown = next((name for name in config if name not in TABLES), None)
    if unknown is not None:
        raise ConfigurationError(f"{path}: {unknown}: is not known; known are the tables {', '.join(TABLES)}")
    sources = config.get("sources", {})
    if not isinstance(sources, dict) or not all(isinstance(table, dict) for table in sources.values()):
        raise ConfigurationError(f"{path}: sources: must be tables, each [sources.<name>]")
    return config


def deferred_leads(config: Mapping[str, Any], path: object) -> Mapping[str, frozenset[str]]:
    """Sources with lead_mode = "deferred", each with those that verify it. Raises ConfigurationError that names file and key."""
    by_source = {}
    for name, table in config.get("sources", {}).items():
        lead_options = {key: value for key, value in table.items() if key in LEAD_KEYS}
        checked = _checked(LeadTable, lead_options, path, ("sources", name))
        if "verified_by" in lead_options and checked.lead_mode != "deferred":
            raise ConfigurationError(f'{path}: sources.{name}.verified_by: says nothing without lead_mode = "deferred"')
        if checked.lead_mode == "deferred":
            by_source[name] = frozenset(checked.verified_by)
    return by_source


def read_test_events(environment: Mapping[str, str], *, stripe: bool | None) -> dict[str, bool]:
    """Which sources' test events count, where <SOURCE>_ALLOW_TEST_EVENTS says so. Raises ConfigurationError."""
    allowed = {} if stripe is None else {"stripe": stripe}
    for variable, value in environment.items():
        source = variable.removesuffix("_ALLOW_TEST_EVENTS")
        if source in (variable, "") or not value:
            continue
        try:
            allowed[source.lower()] = TRUTH.validate_python(value)
        except ValidationError:
            raise ConfigurationError(f"{variable}: must be 1 or 0") from None
    return allowed


def read_table(model: type[Table], config: Mapping[str, Any], path: object, name: str) -> Table:
    """config[name] as a `model`, with its defaults. Raises ConfigurationError that names file and key."""
    return _checked(model, config.get(name, {}), path, (name,))


def read_retention(config: Mapping[str, Any], path: object) -> RetentionTable:
    """[retention] over DEFAULT_DAYS. Raises ConfigurationError that names file and key."""
    table = config.get("retention", {})
    return _checked(
        RetentionTable, {**DEFAULT_DAYS, **table} if isinstance(table, dict) else table, path, ("retention",)
    )


def _checked(model: type[Table], table: object, path: object, keys: tuple[str, ...]) -> Table:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {what_is_wrong(error, model, keys)}") from None
