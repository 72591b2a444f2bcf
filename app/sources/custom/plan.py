"""The table of a source of your own, checked once into a Plan: what is wrong is a ConfigurationError that names the key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal
from zoneinfo import ZoneInfo

from app.errors import ConfigurationError
from app.sources.custom.expressions import expression
from app.sources.custom.tables import HEADER_NAME, EventsTable, LeadFields, SaleFields, SourceTable, Unit, checked
from app.sources.field_names import first_named, keep_named
from app.sources.forms.person_fields import single
from app.sources.submission import Field

OPTIONS_OF_FIELDS = {"occurred_at_unit": "occurred_at", "occurred_at_zone": "occurred_at", "amount_unit": "amount"}
"""Each belongs to a field, and has no effect without it."""
SEVERAL = ("aliases", "person_ids")
"""Fields of which every value counts, and not the first that is found."""
LISTS_OF_EVENTS: Mapping[str, "Kind"] = {"sales": "sale", "leads": "lead", "teach": "teach", "refunds": "refund"}
EVENT_NAMES: Mapping[str, str] = {"sale": "order_paid", "lead": "form_submitted"}

HEADER = "header:"

Kind = Literal["sale", "lead", "teach", "refund"]
Pick = Callable[["Body"], Any]


@dataclass(slots=True)
class Body:
    """One body, parsed once, JSON inside its fields included, with its values by every name that an alias may use (built when the
    first alias asks)."""

    raw: dict[str, Any]
    fields: tuple[Field, ...]
    headers: Mapping[str, str]
    named: dict[str, Any] = dataclass_field(default_factory=dict)

    def by_alias(self, alias: str) -> Any:
        if not self.named:
            for field in self.fields:
                if field.value not in (None, "", []):
                    for name in (field.key, field.id, field.label):
                        keep_named(self.named, name, field.value)
            self.named.setdefault("", None)
        return first_named(self.named, (alias,))


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked table. kind: of events that none of its lists names; kinds: of the others, by their names."""

    name: str
    kind: Literal["sale", "lead"]
    picks: Mapping[str, Pick]
    event: Pick | None
    kinds: Mapping[str, Kind]
    event_name: str | None
    unit: Literal["auto", "s", "ms"]
    zone: ZoneInfo | None
    amount_unit: Unit
    currency: str | None
    by_its_bytes: bool
    """A Lead without its configured submission_id is known by its bytes, and not parked."""
    looked_for: Mapping[str, Sequence[str]] = dataclass_field(default_factory=dict)
    """What the table says of where each value is; `id` are those by which it counts once."""
    is_shipped: bool = False
    """Its Leads name their event, as those of every built-in source do."""


def read_plan(name: str, table: SourceTable, location: str) -> Plan:
    """Raises ConfigurationError."""
    event, kinds = _events(table, location)
    sells = table.kind == "sale" or bool({"sale", "refund"} & set(kinds.values()))
    if table.currency is not None and not sells:
        raise ConfigurationError(f'{location}.currency: a lead has none; leave it out, or set kind = "sale"')
    entries = dict(table.fields)
    if "test" in table.model_fields_set:
        if "test" in entries:
            raise ConfigurationError(f"{location}.fields.test: is set twice: remove this one")
        entries["test"] = table.test
    for option, of in OPTIONS_OF_FIELDS.items():
        if option in entries and of not in entries:
            raise ConfigurationError(f"{location}.fields.{option}: has no effect without {of}")
    fields = checked(SaleFields if sells else LeadFields, entries, f"{location}.fields")
    picks = {
        key: (_pick_all if key in SEVERAL else _pick)(getattr(fields, key), f"{location}.fields.{key}")
        for key in fields.model_fields_set - OPTIONS_OF_FIELDS.keys()
    }
    plan = Plan(
        name=name,
        kind=table.kind,
        picks=picks,
        event=event,
        kinds=kinds,
        event_name=table.event_name,
        unit=fields.occurred_at_unit,
        zone=None if fields.occurred_at_zone is None else ZoneInfo(fields.occurred_at_zone),
        amount_unit=fields.amount_unit if isinstance(fields, SaleFields) else "major",
        currency=table.currency,
        by_its_bytes=table.without_id == "bytes",
        looked_for=_looked_for({key: getattr(fields, key) for key in picks}),
    )
    if sells:
        _check_sale(plan, location)
    return plan


def _looked_for(texts: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    ids = [text for key in ("invoice_id", "order_id", "submission_id") for text in texts.get(key, ())]
    paths = {key: tuple(text.removeprefix("=").strip() for text in values) for key, values in texts.items()}
    return paths | ({"id": tuple(text.removeprefix("=").strip() for text in ids)} if ids else {})


def _events(table: SourceTable, location: str) -> tuple[Pick | None, dict[str, Kind]]:
    """Where the event's name is, and what each event is. Those that are in no list are ignored."""
    if not table.events:
        return None, {}
    location = f"{location}.events"
    events = checked(EventsTable, table.events, location)
    if not (events.allow or events.sales or events.leads):
        raise ConfigurationError(f"{location}.allow: must be a list of the event names that are conversions")
    kinds: dict[str, Kind] = {}
    for option, of in (("allow", table.kind), *LISTS_OF_EVENTS.items()):
        for name in getattr(events, option) or ():
            if name in kinds:
                raise ConfigurationError(f"{location}.{option}: {name} is in two lists")
            kinds[name] = of
    if (events.path is None) == (events.header is None):
        raise ConfigurationError(
            f"{location}.path: must say where the event's name is (or header, which header holds it)"
        )
    if events.header is not None:
        return _of_header(events.header, f"{location}.header"), kinds
    return _pick(events.path, f"{location}.path"), kinds


def _check_sale(plan: Plan, location: str) -> None:
    if "amount" not in plan.picks:
        raise ConfigurationError(f"{location}.fields.amount: a sale needs it")
    if "currency" not in plan.picks and plan.currency is None:
        raise ConfigurationError(
            f'{location}.fields.currency: a sale needs it, or a fixed currency = "EUR" in {location}'
        )
    if not plan.picks.keys() & {"order_id", "invoice_id", "submission_id"}:
        raise ConfigurationError(
            f"{location}.fields.order_id: a sale needs it or invoice_id, since it is counted once by them"
        )


def _pick(texts: list[str], location: str) -> Pick:
    """Aliases and expressions in their order, as one function: the first that finds something wins."""
    picks = [_one_pick(text, location) for text in texts]

    def pick(body: Body) -> Any:
        return next((value for choose in picks if (value := single(choose(body))) not in (None, "", {})), None)

    return pick


def _pick_all(texts: list[str], location: str) -> Pick:
    """Everything that is found, as one list."""
    picks = [_one_pick(text, location) for text in texts]

    def pick(body: Body) -> list[Any]:
        picked = [choose(body) for choose in picks]
        return [item for values in picked for item in (values if isinstance(values, list) else [values])]

    return pick


def _one_pick(text: str, location: str) -> Pick:
    if text.startswith("="):
        return _found_by(text[1:], location)
    return _of_header(text.removeprefix(HEADER), location) if text.startswith(HEADER) else _alias(text)


def _of_header(name: str, location: str) -> Pick:
    if not HEADER_NAME.fullmatch(name):
        raise ConfigurationError(f"{location}: {HEADER} must be followed by a header's name alone, such as X-Topic")
    return lambda body: body.headers.get(name.lower())


def _found_by(text: str, location: str) -> Pick:
    search = expression(text, location)
    return lambda body: search(body.raw)


def _alias(text: str) -> Pick:
    return lambda body: body.by_alias(text)
