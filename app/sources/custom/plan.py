"""The table of a source of your own, checked once into a Plan: what is wrong is a ConfigurationError that names the key."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal
from zoneinfo import ZoneInfo

from app.errors import ConfigurationError
from app.money import currency_code
from app.sources.custom.expressions import expression
from app.sources.custom.tables import choice_in, only, table_in, text_in, zone_in
from app.sources.field_names import first_named, keep_named
from app.sources.forms.person_fields import single
from app.sources.submission import Field

COMMON_FIELDS = (
    *(
        "test",
        "submission_id",
        "occurred_at",
        "email",
        "name",
        "phone",
        "click_id",
        "customer_id",
        "person_ids",
        "form",
        "page",
    ),
)
SALE_FIELDS = (
    *COMMON_FIELDS,
    *("order_id", "invoice_id", "aliases", "amount", "currency", "refund_id", "refund_amount"),
)
OPTIONS_OF_FIELDS = {"occurred_at_unit": "occurred_at", "occurred_at_zone": "occurred_at", "amount_unit": "amount"}
"""Each belongs to a field, and would say nothing without it."""
SEVERAL = ("aliases", "person_ids")
"""Fields of which every value counts, and not the first that is found."""
OF_THE_TABLE = (
    *("kind", "title", "signature", "events", "fields", "test", "event_name", "currency", "without_id"),
    *("lead_mode", "verified_by"),
)
LISTS_OF_EVENTS: Mapping[str, "Kind"] = {"sales": "sale", "leads": "lead", "teach": "teach", "refunds": "refund"}
EVENT_NAMES: Mapping[str, str] = {"sale": "order_paid", "lead": "form_submitted"}

HEADER = "header:"
HEADER_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"

Kind = Literal["sale", "lead", "teach", "refund"]
Unit = Literal["major", "minor", "iso", "cents"]
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
            for one in self.fields:
                if one.value not in (None, "", []):
                    for name in (one.key, one.id, one.label):
                        keep_named(self.named, name, one.value)
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
    is_shipped: bool = False
    """Its Leads name their event, as those of every built-in source do."""


def read_plan(name: str, table: Mapping[str, Any], at: str) -> Plan:
    only(table, OF_THE_TABLE, at)
    kind: Literal["sale", "lead"] = (
        "sale" if choice_in(table, "kind", ("lead", "sale"), at, default="lead") == "sale" else "lead"
    )
    event, kinds = _events(table, kind, at)
    sells = kind == "sale" or bool({"sale", "refund"} & set(kinds.values()))
    fields = table_in(table, "fields", at)
    if "test" in table:
        if "test" in fields:
            raise ConfigurationError(f"{at}.fields.test: is there twice; leave this one out")
        fields = {**fields, "test": table["test"]}
    known = SALE_FIELDS if sells else COMMON_FIELDS
    only(fields, (*known, *(option for option, of in OPTIONS_OF_FIELDS.items() if of in known)), f"{at}.fields")
    for option, of in OPTIONS_OF_FIELDS.items():
        if option in fields and of not in fields:
            raise ConfigurationError(f"{at}.fields.{option}: says nothing without {of}")
    if not sells and "currency" in table:
        raise ConfigurationError(f'{at}.currency: a lead has none; leave it out, or set kind = "sale"')
    default_currency = text_in(table, "currency", at)
    if default_currency is not None and currency_code(default_currency) is None:
        raise ConfigurationError(f"{at}.currency: must be a currency code of three letters, such as EUR")
    plan = Plan(
        name=name,
        kind=kind,
        picks={
            key: (_pick_all if key in SEVERAL else _pick)(value, f"{at}.fields.{key}")
            for key, value in fields.items()
            if key not in OPTIONS_OF_FIELDS
        },
        event=event,
        kinds=kinds,
        event_name=text_in(table, "event_name", at),
        unit=choice_in(fields, "occurred_at_unit", ("auto", "s", "ms"), f"{at}.fields", default="auto"),  # type: ignore[arg-type]
        zone=zone_in(fields, at),
        amount_unit=choice_in(
            fields, "amount_unit", ("major", "minor", "iso", "cents"), f"{at}.fields", default="major"
        ),  # type: ignore[arg-type]
        currency=currency_code(default_currency),
        by_its_bytes=choice_in(table, "without_id", ("park", "bytes"), at, default="park") == "bytes",
    )
    if sells:
        _check_sale(plan, at)
    return plan


def _events(table: Mapping[str, Any], kind: Kind, at: str) -> tuple[Pick | None, dict[str, Kind]]:
    """Where the event's name is, and what each event is. Those that are in no list are ignored."""
    events = table_in(table, "events", at)
    only(events, ("path", "header", "allow", *LISTS_OF_EVENTS), f"{at}.events")
    if not events:
        return None, {}
    if not events.keys() & {"allow", "sales", "leads"}:
        raise ConfigurationError(f"{at}.events.allow: must be a list of the event names that are conversions")
    kinds: dict[str, Kind] = {}
    for option, of in (("allow", kind), *LISTS_OF_EVENTS.items()):
        names = events.get(option, [])
        what = "that are conversions" if option == "allow" else f"that are {option}"
        if (
            not isinstance(names, list)
            or (option in events and not names)
            or not all(isinstance(n, str) for n in names)
        ):
            raise ConfigurationError(f"{at}.events.{option}: must be a list of the event names {what}")
        for name in names:
            if name in kinds:
                raise ConfigurationError(f"{at}.events.{option}: {name} is in two lists")
            kinds[name] = of
    if ("path" in events) == ("header" in events):
        raise ConfigurationError(
            f"{at}.events.path: must say where the event's name is (or header, which header holds it)"
        )
    if "path" in events:
        return _pick(events["path"], f"{at}.events.path"), kinds
    return _of_header(text_in(events, "header", f"{at}.events") or "", f"{at}.events.header"), kinds


def _check_sale(plan: Plan, at: str) -> None:
    if "amount" not in plan.picks:
        raise ConfigurationError(f"{at}.fields.amount: a sale needs it")
    if "currency" not in plan.picks and plan.currency is None:
        raise ConfigurationError(f'{at}.fields.currency: a sale needs it, or a fixed currency = "EUR" in {at}')
    if not plan.picks.keys() & {"order_id", "invoice_id", "submission_id"}:
        raise ConfigurationError(
            f"{at}.fields.order_id: a sale needs it or invoice_id, since it is counted once by them"
        )


def _pick(value: Any, at: str) -> Pick:
    """Aliases and expressions in their order, as one function: the first that finds something wins."""
    picks = _picks(value, at)

    def pick(body: Body) -> Any:
        return next((found for one in picks if (found := single(one(body))) not in (None, "", {})), None)

    return pick


def _pick_all(value: Any, at: str) -> Pick:
    """Everything that is found, as one list."""
    picks = _picks(value, at)

    def pick(body: Body) -> list[Any]:
        found = [one(body) for one in picks]
        return [item for values in found for item in (values if isinstance(values, list) else [values])]

    return pick


def _picks(value: Any, at: str) -> list[Pick]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigurationError(f"{at}: must be a name, an expression that begins with =, or a list of these")
    return [_one_pick(text, at) for text in texts]


def _one_pick(text: str, at: str) -> Pick:
    if text.startswith("="):
        return _found_by(text[1:], at)
    return _of_header(text.removeprefix(HEADER), at) if text.startswith(HEADER) else _alias(text)


def _of_header(name: str, at: str) -> Pick:
    if not re.fullmatch(HEADER_NAME, name):
        raise ConfigurationError(f"{at}: {HEADER} must be followed by a header's name alone, such as X-Topic")
    return lambda body: body.headers.get(name.lower())


def _found_by(text: str, at: str) -> Pick:
    search = expression(text, at)
    return lambda body: search(body.raw)


def _alias(text: str) -> Pick:
    return lambda body: body.by_alias(text)
