"""[destinations.<name>] in bridge.toml: who else is sent conversions, beside the one of DESTINATION_URL."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from app.config import templates
from app.config.setting_types import DestinationUrl, FormatName, VariableName
from app.config.templates import TemplateOptions
from app.config.wording import what_is_wrong
from app.destinations.formats.base import CLICKS
from app.destinations.formats.template.nodes import Mistake
from app.errors import ConfigurationError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
SANDBOX = "sandbox"
MAIN = "main"
"""The one of DESTINATION_URL."""
Table = TypeVar("Table", bound="RouteTable")


def _name_template(text: str) -> str:
    """An event's name that may use {form}. Raises ValueError."""
    if set(re.findall(r"\{[^{}]*\}", text)) - {"{form}"} or re.search(r"[{}]", text.replace("{form}", "")):
        raise ValueError("may use {form}, and no other braces")
    return text


EventName = Annotated[str, Field(min_length=1, max_length=255)]
NameTemplate = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_name_template)]


class SignatureTable(BaseModel):
    """[destinations.<name>.signature]: its requests are signed by Standard Webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret_env: VariableName
    """The variable of the secret (whsec_…), or of two with a comma between them while it is changed."""


class RouteTable(BaseModel):
    """Which conversions a destination is sent, and as what. kinds and sources: without them it is sent all.

    [destinations.main] is such a table where DESTINATION_URL is set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kinds: tuple[Literal["sale", "lead"], ...] = Field(("sale", "lead"), min_length=1)
    sources: tuple[str, ...] | None = Field(None, min_length=1)
    touch: Literal["first", "last"] | None = None
    """Which click counts; None: as [attribution] says."""
    net_of_tax: bool | None = None
    """Amounts are sent without tax; None: as NET_OF_TAX says."""
    mode: Literal["live", "shadow"] = "live"
    """shadow: what would be sent is recorded, and nothing is."""
    event_names: dict[EventName, NameTemplate] = Field(default_factory=dict)
    """What events are called there, by their own names (form_submitted, order_paid, …)."""
    refunds: bool = False
    """Refunds and lost disputes are sent as well, where the format can."""
    lower_sales: bool = False
    """A Sale of which a part is refunded before it is sent goes with what is left, and no refund follows."""
    signature: SignatureTable | None = None

    _template: TemplateOptions = PrivateAttr(templates.NONE)

    @property
    def template(self) -> TemplateOptions:
        """What it says where its format is a template or preset."""
        return self._template

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of secrets that it names."""
        signing = (self.signature.secret_env,) if self.signature else ()
        return (*self._template.variables.values(), *signing)


class DestinationTable(RouteTable):
    """One table. token_env names the environment variable that holds the bearer token; the token itself stays out of files.

    Only a template or preset may do without a token."""

    url: DestinationUrl
    token_env: VariableName | None
    format: FormatName = "events"
    amount_unit: Literal["major", "minor"] = "major"
    concurrency: int = Field(32, ge=1, le=1000)
    rate: float | None = Field(None, gt=0, le=1_000_000)
    timeout: float = Field(10, gt=0, le=120)
    allow_private: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        token = (self.token_env,) if self.token_env else ()
        return (*token, *super().variables)


def read_tables(
    config: Mapping[str, Any], path: object, *, has_main: bool, clicks: tuple[str, ...] = CLICKS
) -> dict[str, DestinationTable]:
    """The tables by name, in their order. Raises ConfigurationError that names file and key.

    has_main: DESTINATION_URL is set, so that no table may be called main. clicks: names in [attribution.clicks].
    """
    tables = config.get("destinations", {})
    if not isinstance(tables, dict):
        raise ConfigurationError(f"{path}: destinations: must be tables, each [destinations.<name>]")
    checked_tables = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{path}: destinations.{name}: a name is 1 to 40 of a-z, 0-9, - and _ and begins with a letter"
            )
        if name == MAIN and has_main:
            continue
        if name == SANDBOX:
            raise ConfigurationError(f"{path}: destinations.{name}: that name is the bridge's own; choose another")
        checked_tables[name] = _checked(DestinationTable, table, path, name, _format_of(table), clicks)
    return checked_tables


def _format_of(table: object) -> str:
    named = table.get("format", "events") if isinstance(table, dict) else ""
    return named if isinstance(named, str) else ""


def read_main(
    config: Mapping[str, Any], path: object, format_name: str, clicks: tuple[str, ...] = CLICKS
) -> RouteTable:
    """[destinations.main] beside DESTINATION_URL: options alone. Raises ConfigurationError that names file and key."""
    table = config.get("destinations", {}).get(MAIN, {})
    if isinstance(table, dict) and "url" in table:
        raise ConfigurationError(
            f"{path}: destinations.{MAIN}.url: that name is the one of DESTINATION_URL; remove url, or choose another name"
        )
    return _checked(RouteTable, table, path, MAIN, format_name, clicks)


def _checked(
    model: type[Table], table: object, path: object, name: str, format_name: str, clicks: tuple[str, ...]
) -> Table:
    options = templates.NONE
    if templates.is_template(format_name) and isinstance(table, dict):
        keys = templates.known_keys(format_name)
        _refuse_unknown(model, table, keys, path, name)
        has_token = model is RouteTable  # DESTINATION_TOKEN
        options = templates.take(format_name, table, path, name, has_token=has_token, clicks=clicks)
        table = {key: value for key, value in table.items() if key not in keys or key in model.model_fields}
        if model is DestinationTable:
            table = {"token_env": None, **table}
            if templates.url_of(format_name):
                table = {"url": templates.url_of(format_name), **table}
    try:
        instance = model.model_validate(table)
    except ValidationError as error:
        wrong = what_is_wrong(error, model, ("destinations", name))
        raise ConfigurationError(f"{path}: {wrong}") from None
    instance._template = options
    return instance


def _refuse_unknown(
    model: type[BaseModel], table: Mapping[str, Any], keys: tuple[str, ...], path: object, name: str
) -> None:
    known = [key for key in (*model.model_fields, *keys) if model is DestinationTable or key != "token_env"]
    unknown = next((key for key in table if key not in known), None)
    if unknown is not None:
        text = f"is not known; known are {', '.join(dict.fromkeys(known))}"
        raise ConfigurationError(templates.said(Mistake((unknown,), text), path, name))
