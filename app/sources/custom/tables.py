"""The tables of a source in bridge.toml, checked: every wrong value is a ConfigurationError that names its key."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.config.wording import what_is_wrong
from app.errors import ConfigurationError
from app.money import currency_code
from app.sources.signatures import HmacScheme, StaticSecret

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
PLACES = ("t", "id", "method", "url")
"""What a signature's template may hold beside {body}."""

Unit = Literal["major", "minor", "iso", "cents"]
Checked = TypeVar("Checked", bound=BaseModel)


def _is_text(value: str) -> str:
    if not value.strip() or len(value) > 255:
        raise ValueError("must be a text of 1 to 255 characters")
    return value


def _is_header(value: str) -> str:
    if not HEADER_NAME.fullmatch(value):
        raise ValueError("must be a header's name alone, such as X-Signature")
    return value


def _is_currency(value: str) -> str:
    code = currency_code(value)
    if code is None or code != value.upper():
        raise ValueError("must be a currency code of three letters, such as EUR")
    return code


def _is_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("no time zone is called that; UTC and Europe/Berlin are") from None
    return value


def _are_picks(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("must be a name, an expression that begins with =, or a list of these")
    return texts


def _are_events(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("must be a list of event names")
    return value


Text = Annotated[str, AfterValidator(_is_text)]
HeaderName = Annotated[Text, AfterValidator(_is_header)]
Picks = Annotated[Any, AfterValidator(_are_picks)]
Events = Annotated[list[str], AfterValidator(_are_events)]


class Table(BaseModel):
    """A table that has these keys and no others, whose values are of their own types: "5" is not 5."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class SourceTable(Table):
    """[sources.<name>]. lead_mode and verified_by are read elsewhere, for sources of every kind."""

    kind: Literal["lead", "sale"] = "lead"
    title: Text | None = None
    signature: Any = None
    events: dict[str, Any] = Field(default_factory=dict)
    fields: dict[str, Any] = Field(default_factory=dict)
    test: Any = None
    event_name: Text | None = None
    currency: Annotated[Text, AfterValidator(_is_currency)] | None = None
    without_id: Literal["park", "bytes"] = "park"
    lead_mode: Any = None
    verified_by: Any = None


class EventsTable(Table):
    """[sources.<name>.events]: where the event's name is, and which names are what."""

    path: Picks = None
    header: HeaderName | None = None
    allow: Events | None = None
    sales: Events | None = None
    leads: Events | None = None
    teach: Events | None = None
    refunds: Events | None = None


class LeadFields(Table):
    """[sources.<name>.fields] of a source of Leads: where each of these is."""

    test: Picks = None
    submission_id: Picks = None
    occurred_at: Picks = None
    email: Picks = None
    name: Picks = None
    phone: Picks = None
    click_id: Picks = None
    customer_id: Picks = None
    person_ids: Picks = None
    form: Picks = None
    page: Picks = None
    occurred_at_unit: Literal["auto", "s", "ms"] = "auto"
    occurred_at_zone: Annotated[Text, AfterValidator(_is_zone)] | None = None


class SaleFields(LeadFields):
    """The same of a source that sells."""

    order_id: Picks = None
    invoice_id: Picks = None
    aliases: Picks = None
    amount: Picks = None
    tax: Picks = None
    currency: Picks = None
    refund_id: Picks = None
    refund_amount: Picks = None
    amount_unit: Unit = "major"


class SignatureTable(Table):
    """[sources.<name>.signature]: the options of HmacScheme."""

    header: HeaderName
    encoding: Literal["hex", "base64"] = "hex"
    digest: Literal["sha256", "sha1"] = "sha256"
    template: Text = "{body}"
    prefix: Text = ""
    pairs: list[Text] | None = None
    separator: Text = ","
    versions: bool = False
    timestamp_header: HeaderName | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_seconds: int = Field(300, ge=1, le=86400)
    id_header: HeaderName | None = None
    secret_encoding: Literal["text", "whsec", "either", "html"] = "text"  # noqa: S105 (the name of an encoding)


class StaticTable(Table):
    """The same of a header that repeats the secret."""

    header: HeaderName = "Authorization"
    static: Literal["whole", "bearer", "basic"] = "whole"


def checked(model: type[Checked], table: object, location: str) -> Checked:
    """`table` as a `model`. Raises ConfigurationError that begins with the key that is wrong."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(what_is_wrong(error, model, (location,))) from None


def scheme_in(options: object, location: str) -> HmacScheme | StaticSecret | None:
    """How the sender signs, or None if it cannot."""
    if options is None or options == "none":
        return None
    location = f"{location}.signature"
    if not isinstance(options, Mapping):
        raise ConfigurationError(f'{location}: must be a table, or "none" for a sender that cannot sign')
    if "static" in options:
        static = checked(StaticTable, options, location)
        return StaticSecret(header=static.header, form=static.static)
    table = checked(SignatureTable, options, location)
    if table.pairs is not None and len(table.pairs) != 2:
        raise ConfigurationError(f'{location}.pairs: must be the names of time and signature, such as ["t", "v1"]')
    ways = [key for key in ("prefix", "pairs", "versions") if getattr(table, key)]
    if len(ways) > 1:
        raise ConfigurationError(f"{location}.{ways[1]}: cannot go with {ways[0]}: each says how the header is written")
    _check_template(table, location)
    chosen = table.model_dump(exclude_unset=True, exclude={"pairs"})
    return HmacScheme(**chosen, pairs=(table.pairs[0], table.pairs[1]) if table.pairs else None)


def _check_template(table: SignatureTable, location: str) -> None:
    location, rest = f"{location}.template", table.template.replace("{body}", "")
    if table.template.count("{body}") != 1:
        raise ConfigurationError(f"{location}: must hold {{body}} once")
    for name in PLACES:
        rest = rest.replace(f"{{{name}}}", "")
    if "{" in rest or "}" in rest:
        raise ConfigurationError(f"{location}: knows {{body}}, {{t}}, {{id}}, {{method}} and {{url}} only")
    is_timed = bool(table.timestamp_header or table.pairs)
    if "{t}" in table.template and not is_timed:
        raise ConfigurationError(f"{location}: has {{t}}, so timestamp_header or pairs must say where the time is")
    if "{id}" in table.template and not table.id_header:
        raise ConfigurationError(f"{location}: has {{id}}, so id_header must say where it is")
    if "{t}" not in table.template and is_timed:
        raise ConfigurationError(f"{location}: leaves {{t}} out, so the time would be taken unsigned from the sender")
