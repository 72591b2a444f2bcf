"""Sources of one's own, from a table of bridge.toml instead of code. docs/sources.md shows them.

Everything is read and checked once, by `build`: what is wrong is a ConfigurationError that names the key.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from app.errors import ConfigurationError
from app.model import Inbound, Lead, Mapped, Rules, Who
from app.money import Money, currency_code, from_iso_minor, from_major
from app.sources.base import Source
from app.sources.bodies import json_in, read_body
from app.sources.custom.expressions import expression
from app.sources.custom.tables import choice_in, only, scheme_in, table_in, text_in, zone_in
from app.sources.field_names import first_named, keep_named, plain_name
from app.sources.forms.generic_form import fields_from
from app.sources.forms.labels import words
from app.sources.forms.person_fields import name_of, phone_of, single
from app.sources.handshake import WOOCOMMERCE, woocommerce_ping
from app.sources.outcomes import event_id_of, ignored, sale
from app.sources.parse import body_hash, email_of, from_iso, from_unix, identifier_of, text_of
from app.sources.submission import Field, Submission, event_name_of, title_of, who_of
from app.sources.webhook import Webhook

COMMON_FIELDS = ("test", "submission_id", "occurred_at", "email", "name", "phone", "click_id", "customer_id", "form")
SALE_FIELDS = (*COMMON_FIELDS, "order_id", "invoice_id", "amount", "currency")
OPTIONS_OF_FIELDS = {"occurred_at_unit": "occurred_at", "occurred_at_zone": "occurred_at", "amount_unit": "amount"}
"""Each belongs to a field, and would say nothing without it."""
OF_THE_TABLE = (
    *("kind", "title", "signature", "events", "fields", "test", "event_name", "currency"),
    *("lead_mode", "verified_by"),
)
STAFF = "userid"
"""At the top of an order, user_id is whoever works at the shop: at Shopify, the member of staff at the till."""
LIVE = words("false 0 no off none live prod production")
"""What says, where a test event would be marked, that this is not one."""
MOST_JSON_FIELDS = 20
LONGEST_JSON_FIELD = 256 * 1024

Pick = Callable[["Body"], Any]


@dataclass(slots=True)
class Body:
    """One body, parsed once, JSON inside its fields included, with its values by every name that an alias may use (built when the
    first alias asks)."""

    raw: dict[str, Any]
    fields: tuple[Field, ...]
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
    """A checked table."""

    name: str
    kind: Literal["sale", "lead"]
    picks: Mapping[str, Pick]
    event: Pick | None
    allowed: frozenset[str]
    event_name: str
    unit: Literal["auto", "s", "ms"]
    zone: ZoneInfo | None
    amount_unit: Literal["major", "minor", "iso"]
    currency: str | None


def build(name: str, table: Mapping[str, Any]) -> Source:
    """The source that [sources.<name>] describes. Raises ConfigurationError naming the key that is wrong."""
    at = f"sources.{name}"
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{at}: must be a table")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ConfigurationError(
            f"{at}: a source's name is 1 to 40 of a-z, 0-9 and _ and begins with a letter: it names a URL and a variable"
        )
    only(table, OF_THE_TABLE, at)
    kind = choice_in(table, "kind", ("lead", "sale"), at, default="lead")
    fields = table_in(table, "fields", at)
    if "test" in table:
        if "test" in fields:
            raise ConfigurationError(f"{at}.fields.test: is there twice; leave this one out")
        fields = {**fields, "test": table["test"]}
    known = SALE_FIELDS if kind == "sale" else COMMON_FIELDS
    only(fields, (*known, *(option for option, of in OPTIONS_OF_FIELDS.items() if of in known)), f"{at}.fields")
    for option, of in OPTIONS_OF_FIELDS.items():
        if option in fields and of not in fields:
            raise ConfigurationError(f"{at}.fields.{option}: says nothing without {of}")
    if kind == "lead" and "currency" in table:
        raise ConfigurationError(f'{at}.currency: a lead has none; leave it out, or set kind = "sale"')
    event, allowed = _events(table, at)
    default_currency = text_in(table, "currency", at)
    if default_currency is not None and currency_code(default_currency) is None:
        raise ConfigurationError(f"{at}.currency: must be a currency code of three letters, such as EUR")
    plan = Plan(
        name=name,
        kind="sale" if kind == "sale" else "lead",
        picks={
            key: _pick(value, f"{at}.fields.{key}") for key, value in fields.items() if key not in OPTIONS_OF_FIELDS
        },
        event=event,
        allowed=allowed,
        event_name=text_in(table, "event_name", at) or ("order_paid" if kind == "sale" else "form_submitted"),
        unit=choice_in(fields, "occurred_at_unit", ("auto", "s", "ms"), f"{at}.fields", default="auto"),  # type: ignore[arg-type]
        zone=zone_in(fields, at),
        amount_unit=choice_in(fields, "amount_unit", ("major", "minor", "iso"), f"{at}.fields", default="major"),  # type: ignore[arg-type]
        currency=currency_code(default_currency),
    )
    if plan.kind == "sale":
        _check_sale(plan, at)
    signature = scheme_in(table, at)
    return Webhook(
        name,
        text_in(table, "title", at) or name,
        signature,
        lambda inbound, rules: _read(plan, inbound, rules),
        pings=woocommerce_ping if signature is None or signature.header.casefold() == WOOCOMMERCE else None,
    )


# --- the table, checked ----------------------------------------------------------------------------------------------


def _events(table: Mapping[str, Any], at: str) -> tuple[Pick | None, frozenset[str]]:
    events = table_in(table, "events", at)
    only(events, ("path", "allow"), f"{at}.events")
    if not events:
        return None, frozenset()
    allow = events.get("allow")
    if not isinstance(allow, list) or not allow or not all(isinstance(name, str) for name in allow):
        raise ConfigurationError(f"{at}.events.allow: must be a list of the event names that are conversions")
    if "path" not in events:
        raise ConfigurationError(f"{at}.events.path: must say where the event's name is")
    return _pick(events["path"], f"{at}.events.path"), frozenset(allow)


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
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigurationError(f"{at}: must be a name, an expression that begins with =, or a list of these")
    picks = [_found_by(text[1:], at) if text.startswith("=") else _alias(text) for text in texts]

    def pick(body: Body) -> Any:
        return next((found for one in picks if (found := single(one(body))) not in (None, "", {})), None)

    return pick


def _found_by(text: str, at: str) -> Pick:
    search = expression(text, at)
    return lambda body: search(body.raw)


def _alias(text: str) -> Pick:
    return lambda body: body.by_alias(text)


# --- a body, mapped --------------------------------------------------------------------------------------------------


def _read(plan: Plan, inbound: Inbound, rules: Rules) -> Mapped:
    raw = _opened(read_body(inbound))
    body = Body(raw, fields_from(raw))

    def find(key: str) -> Any:
        return plan.picks[key](body) if key in plan.picks else None

    event = event_name_of(plan.event(body)) if plan.event else "submission"
    own_id = identifier_of(find("submission_id"))
    view = Submission(
        event=event,
        submission_id=own_id or (body_hash(inbound.body) if plan.kind == "lead" else None),
        body=inbound.body,
        occurred_at=_moment(find("occurred_at"), plan),
        fields=_fields_of_the_buyer(body) if plan.kind == "sale" else body.fields,
        form=title_of(find("form")),
    )
    who, keys = _who(view, find, plan, rules), _keys(plan, view, find)
    if _is_test(find("test")) and not rules.accepts_test_events(plan.name):
        reason = f"Test event of {plan.name}. Set {plan.name.upper()}_ALLOW_TEST_EVENTS=1 to accept these."
        return _ignored(plan, view, who, reason, keys)
    if plan.event and not event:
        reason = "the event's name is not where sources.<name>.events.path says"
        return _outcome(plan, view, who, "parked", reason, keys)
    if plan.event and event not in plan.allowed:
        reason = f"{event} is not among the events that are conversions"
        return _ignored(plan, view, who, reason, keys)
    if plan.kind == "sale":
        return _sale(plan, view, who, keys, find, rules)
    if "submission_id" in plan.picks and not own_id:
        return _outcome(plan, view, who, "parked", "it has no submission_id, so it could not be counted once", keys)
    return _outcome(plan, view, who, "lead", "a form was submitted", keys)


def _ignored(plan: Plan, view: Submission, who: Who, reason: str, keys: tuple[str, ...]) -> Mapped:
    """Each is an event of its own: one order may be updated many times."""
    own = replace(view, event_id=event_id_of(view))
    return ignored(own, reason, keys=keys, who=who, about=plan.kind)


def _keys(plan: Plan, view: Submission, find: Callable[[str], Any]) -> tuple[str, ...]:
    """The ids by which it is counted once, the one to send first."""
    if plan.kind == "lead":
        return (view.submission_id,) if view.submission_id else ()
    ids = (identifier_of(find("invoice_id")), identifier_of(find("order_id")), view.submission_id)
    return tuple(dict.fromkeys(key for key in ids if key))


def _opened(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` with the JSON inside its text fields in their place (Unbounce's data.json, Ninja Forms' json)."""
    opened = 0
    for key, value in raw.items():
        if isinstance(value, str) and value[:1] in ("{", "[") and len(value) <= LONGEST_JSON_FIELD:
            inside = json_in(value)
            if isinstance(inside, dict | list) and inside:
                raw[key] = inside
                opened += 1
        if opened >= MOST_JSON_FIELDS:
            break
    return raw


def _fields_of_the_buyer(body: Body) -> tuple[Field, ...]:
    return tuple(one for one in body.fields if not (one.key == one.id and plain_name(one.key) == STAFF))


def _is_test(mark: Any) -> bool:
    if isinstance(mark, int | float):
        return bool(mark)
    text = text_of(mark)
    return text is not None and text.casefold() not in LIVE


def _who(view: Submission, find: Callable[[str], Any], plan: Plan, rules: Rules) -> Who:
    """What the configured fields say; what is not configured is read by the rules for every form."""
    known = who_of(view, rules)
    configured = plan.picks.keys()
    return Who(
        customer_id=identifier_of(find("customer_id")) if "customer_id" in configured else known.customer_id,
        click_id=identifier_of(find("click_id")) if "click_id" in configured else known.click_id,
        email=email_of(find("email")) if "email" in configured else known.email,
        name=name_of(find("name")) if "name" in configured else known.name,
        phone=phone_of(find("phone")) if "phone" in configured else known.phone,
    )


def _outcome(
    plan: Plan, view: Submission, who: Who, outcome: Literal["lead", "parked"], reason: str, keys: tuple[str, ...]
) -> Mapped:
    metadata = {"source": plan.name, "form": view.form, "event": view.event if plan.event else None}
    has_lead = plan.kind == "lead" and view.submission_id is not None
    return Mapped(
        outcome=outcome,
        reason=reason,
        event_id=event_id_of(view),
        event_type=view.event,
        keys=keys,
        about=plan.kind,
        occurred_at=view.occurred_at,
        who=who,
        lead=Lead(view.submission_id or "", plan.event_name, metadata={k: v for k, v in metadata.items() if v})
        if has_lead
        else None,
    )


def _sale(
    plan: Plan, view: Submission, who: Who, keys: tuple[str, ...], find: Callable[[str], Any], rules: Rules
) -> Mapped:
    currency = currency_code(find("currency")) or plan.currency
    money: Money | str = "it has no currency"
    if not keys:
        money = "it has no order_id or invoice_id, so it could not be counted once"
    elif currency is not None:
        try:
            money = _money(find("amount"), currency, plan)
        except ValueError as error:
            money = str(error)
    return sale(
        plan.name,
        replace(view, submission_id=keys[0] if keys else None),
        rules,
        money,
        keys=keys,
        who=who,
        order_id=identifier_of(find("order_id")),
        event_name=plan.event_name,
    )


def _money(amount: Any, currency: str, plan: Plan) -> Money:
    if amount is None:
        raise ValueError("it has no amount")
    if plan.amount_unit == "major":
        return from_major(amount.strip() if isinstance(amount, str) else amount, currency)
    text = text_of(amount)
    if isinstance(amount, float) and amount.is_integer():
        text = str(int(amount))
    if text is None or not text.removeprefix("-").isdigit() or not text.isascii() or len(text) > 15:
        raise ValueError("the amount is not a whole number of minor units")
    return from_iso_minor(int(text), currency) if plan.amount_unit == "iso" else Money(int(text), currency)


def _moment(value: Any, plan: Plan) -> datetime | None:
    """ISO 8601 with a zone, or unix time; a time without a zone only where occurred_at_zone says which one it is in."""
    text = text_of(value)
    if text is None:
        return None
    try:
        number = float(text) if text.replace(".", "", 1).isdigit() and len(text) <= 20 else None
    except ValueError:
        number = None
    if number is not None:
        return from_unix(number / 1000 if plan.unit == "ms" and number > 10**6 else number)
    moment = from_iso(value)
    if moment or plan.zone is None:
        return moment
    local = from_iso(value, assume_utc=True)
    return local.replace(tzinfo=plan.zone).astimezone(UTC) if local else None
