"""A body of a source of your own, mapped by its Plan."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from app.model import Draft, Inbound, Lead, Mapped, Rules, Who
from app.money import Money, Payment, currency_code
from app.sources.bodies import json_in, read_body
from app.sources.custom.plan import EVENT_NAMES, Body, Plan
from app.sources.field_names import plain_name
from app.sources.forms.generic_form import fields_from
from app.sources.forms.labels import words
from app.sources.forms.person_fields import name_of, phone_of
from app.sources.outcomes import Missing, event_id_of, ignored, refunded, sale
from app.sources.parse import DATE, body_hash, email_of, from_iso, from_unix, identifier_of, page_parameters, text_of
from app.sources.payment import aliases_of, money_of
from app.sources.submission import Field, Submission, event_name_of, title_of, who_of

STAFF = "userid"
"""At the top of an order, user_id is somebody who works at the shop: at Shopify, the member of staff at the till."""
ORDERS = words("order checkout")
"""Names of the object that holds the order where the body wraps it."""
NO_ID = "it has no order_id or invoice_id, so it could not be counted once"
LIVE = words("false 0 no off none live prod production")
"""What says, where a test event would be marked, that this is not one."""
MOST_JSON_FIELDS = 20
LONGEST_JSON_FIELD = 256 * 1024


def read(plan: Plan, inbound: Inbound, rules: Rules) -> Mapped:
    """What the body means. Raises MalformedEvent if it cannot be read."""
    raw = _opened(read_body(inbound))
    event = Event(plan, Body(raw, fields_from(raw), inbound.headers), inbound, rules)
    mapped, numbers = _meaning(plan, event), event.numbers()
    return replace(mapped, numbers=numbers) if numbers else mapped


def _meaning(plan: Plan, event: "Event") -> Mapped:
    rules = event.rules
    name, kind = event.view.event, event.kind
    if _is_test(event.find("test")) and not rules.accepts_test_events(plan.name):
        return event.ignored(f"Test event of {plan.name}. Set {plan.name.upper()}_ALLOW_TEST_EVENTS=1 to accept these.")
    if plan.event and not name:
        return event.parked(f"the event's name is not where sources.{plan.name}.events.path (or header) says")
    if kind is None:
        return event.ignored(f"{name} is not among the events that are conversions")
    if kind == "teach":
        return event.ignored(f"{name} is not a conversion, and is kept for its person", carries_identity=True)
    if kind == "refund":
        return event.refunded()
    if kind == "sale":
        return event.sale()
    if "submission_id" in plan.picks and not plan.by_its_bytes and not identifier_of(event.find("submission_id")):
        return event.parked("it has no submission_id, so it could not be counted once", lacks=("id",))
    return event.lead()


class Event:
    """One body, read by a plan. kind: None if no list names its event."""

    def __init__(self, plan: Plan, body: Body, inbound: Inbound, rules: Rules) -> None:
        self.plan, self.body, self.rules = plan, body, rules
        name = event_name_of(plan.event(body)) if plan.event else "submission"
        self.kind = plan.kinds.get(name) if plan.event else plan.kind
        self.about: Literal["sale", "lead"] = "lead" if (self.kind or plan.kind) == "lead" else "sale"
        if self.kind in (None, "teach"):
            self.about = plan.kind
        own_id = identifier_of(self.find("submission_id"))
        self.view = Submission(
            event=name,
            submission_id=own_id or (body_hash(inbound.body) if self.about == "lead" else None),
            body=inbound.body,
            occurred_at=_moment(self.find("occurred_at"), plan),
            fields=_fields_of_the_buyer(body) if self.about == "sale" else body.fields,
            page=page_parameters(self.find("page")),
            form=title_of(self.find("form")),
            aliases=aliases_of(plan.name, *(self.find("person_ids") or ())),
        )
        self.who = self._who()
        self.keys = self._keys()

    def find(self, field: str) -> Any:
        return self.plan.picks[field](self.body) if field in self.plan.picks else None

    def sale(self) -> Mapped:
        money = self._money("amount")
        tax = self._money("tax") if "tax" in self.plan.picks else None
        if isinstance(money, Money) and isinstance(tax, Money):
            money = Payment(money.minor, money.currency, tax.minor)
        if isinstance(money, Missing):
            money.tax = self.find("tax")
            money = money if self.keys else money.called(NO_ID)
        return sale(
            self.plan.name,
            replace(self.view, submission_id=self._payment()),
            self.rules,
            money,
            keys=self.keys,
            who=self.who,
            order_id=identifier_of(self.find("order_id")),
            event_name=self._event_name(),
            no_id=NO_ID,
        )

    def refunded(self) -> Mapped:
        """Money that went back of the order that the same fields name."""
        money = self._money("refund_amount" if "refund_amount" in self.plan.picks else "amount")
        if isinstance(money, Money):
            money = Money(abs(money.minor), money.currency)
        cumulative = f"{self._payment()}:refunded" if self.keys else None
        return refunded(
            replace(self.view, event_id=event_id_of(self.view)),
            money,
            reference=identifier_of(self.find("refund_id")) or cumulative,
            keys=self.keys,
            status="refunded",
        )

    def ignored(self, reason: str, *, carries_identity: bool = False) -> Mapped:
        """Each is an event of its own: one order may be updated many times."""
        own = replace(self.view, event_id=event_id_of(self.view))
        return ignored(own, reason, keys=self.keys, who=self.who, about=self.about, carries_identity=carries_identity)

    def parked(self, reason: str, *, lacks: tuple[str, ...] = ()) -> Mapped:
        mapped = self._of_a_lead("parked", reason)
        return replace(mapped, draft=Draft(lacks, reason="a form was submitted")) if lacks else mapped

    def lead(self) -> Mapped:
        return self._of_a_lead("lead", "a form was submitted")

    def _of_a_lead(self, outcome: Literal["lead", "parked"], reason: str) -> Mapped:
        view, has_event = self.view, self.plan.event is not None or self.plan.is_shipped
        metadata = {"source": self.plan.name, "form": view.form, "event": view.event if has_event else None}
        has_lead = self.about == "lead" and (view.submission_id is not None or outcome == "parked")
        conversion = Lead(
            view.submission_id or "", self._event_name(), metadata={k: v for k, v in metadata.items() if v}
        )
        return Mapped(
            outcome=outcome,
            reason=reason,
            event_id=event_id_of(view),
            event_type=view.event,
            keys=self.keys,
            about=self.about,
            occurred_at=view.occurred_at,
            who=self.who,
            lead=conversion if has_lead else None,
        )

    def _event_name(self) -> str:
        own = self.plan.event_name if self.about == self.plan.kind else None
        return own or EVENT_NAMES[self.about]

    def _keys(self) -> tuple[str, ...]:
        """The ids by which it is counted once, the one to send first."""
        if self.about == "lead":
            return (self.view.submission_id,) if self.view.submission_id else ()
        ids = (self.find("invoice_id"), self.find("order_id"), self.view.submission_id, *(self.find("aliases") or ()))
        return tuple(dict.fromkeys(key for key in map(identifier_of, ids) if key))

    def _payment(self) -> str | None:
        """The id of the payment itself, other than that of any other one."""
        numbers = self.numbers()
        if len(numbers) == 1 and numbers[0][0] == "order":
            return f"order={numbers[0][1]}"
        return self.keys[0] if self.keys else None

    def numbers(self) -> tuple[tuple[str, str], ...]:
        """The invoice and the order, where the source names both and one is a number alone: each may count from 1."""
        if self.about == "lead" or not {"invoice_id", "order_id"} <= self.plan.picks.keys():
            return ()
        ids = ((series, identifier_of(self.find(f"{series}_id"))) for series in ("invoice", "order"))
        numbers = tuple((series, number) for series, number in ids if number)
        return numbers if any(number.isdecimal() for _, number in numbers) else ()

    def _money(self, field: str) -> Money | str:
        currency = currency_code(self.find("currency")) or self.plan.currency
        unit = self.plan.amount_unit
        money = money_of(self.find(field), currency, "stripe" if unit == "minor" else unit)
        return money.called("it has no currency") if currency is None and isinstance(money, Missing) else money

    def _who(self) -> Who:
        """What the configured fields say; what is not configured is read by the rules for every form."""
        known, configured, find = who_of(self.view, self.rules), self.plan.picks.keys(), self.find
        return Who(
            customer_id=identifier_of(find("customer_id")) if "customer_id" in configured else known.customer_id,
            click_id=identifier_of(find("click_id")) if "click_id" in configured else known.click_id,
            email=email_of(find("email")) if "email" in configured else known.email,
            name=name_of(find("name")) if "name" in configured else known.name,
            phone=phone_of(find("phone")) if "phone" in configured else known.phone,
            aliases=known.aliases,
            clicks=known.clicks,
        )


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
    return tuple(field for field in body.fields if not (plain_name(field.id) == STAFF and _is_of_the_order(field)))


def _is_of_the_order(field: Field) -> bool:
    """At the top level of the body, or of the order within it. `key` is the path, `id` its end."""
    holder = field.key.removesuffix(field.id).rstrip(".")
    return not holder or plain_name(holder.rpartition(".")[2]) in ORDERS


def _is_test(mark: Any) -> bool:
    if isinstance(mark, int | float):
        return bool(mark)
    text = text_of(mark)
    return text is not None and text.casefold() not in LIVE


def _moment(value: Any, plan: Plan) -> datetime | None:
    """ISO 8601 with a zone, or unix time; a time without a zone only where occurred_at_zone says which one it is in."""
    text = text_of(value)
    if text is None:
        return None
    try:
        is_number = text.replace(".", "", 1).isdigit() and len(text) <= 20 and not DATE.fullmatch(text)
        number = float(text) if is_number else None
    except ValueError:
        number = None
    if number is not None:
        return from_unix(number / 1000 if plan.unit == "ms" and number > 10**6 else number)
    moment = from_iso(text)
    if moment or plan.zone is None:
        return moment
    local = from_iso(text, assume_utc=True)
    return local.replace(tzinfo=plan.zone).astimezone(UTC) if local else None
