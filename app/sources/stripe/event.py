"""Stripe's envelope: one event, opened, and the ways to answer what it means."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.errors import MalformedEvent
from app.model import Mapped, Rules, Who
from app.sources.parse import json_object
from app.sources.stripe.fields import FIRST, INVOICE, JsonObject, id_of, moment_of, object_of

if TYPE_CHECKING:
    from dataclasses import dataclass
else:  # see there
    from app.model import dataclass

LONGEST_TYPE = 100
NOBODY = Who()


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """One event with the rules to read it by. `object` is its data.object, {} where that is not an object."""

    id: str
    type: str
    account: str | None
    """The connected account it comes from (Connect)."""
    created: datetime | None
    is_thin: bool
    is_test: bool
    object: JsonObject
    rules: Rules

    def answer(self, **fields: Any) -> Mapped:
        """A Mapped of this event; it happened when the event was made, unless `fields` say otherwise."""
        fields.setdefault("occurred_at", self.created)
        keys: tuple[str, ...] = fields.get("keys", ())
        if keys:
            fields.setdefault("weak_keys", tuple([key for key in keys if key.endswith(FIRST)]))
            fields.setdefault("truncatable_keys", tuple([key for key in keys if key.startswith(INVOICE)]))
        return Mapped(event_id=self.id, event_type=self.type, account=self.account, **fields)

    def ignore(self, reason: str, *, who: Who = NOBODY, **fields: Any) -> Mapped:
        """No conversion. `who` is kept where it is worth remembering; two keys or more belong together."""
        fields.setdefault("links_keys", len(fields.get("keys", ())) + len(fields.get("key_prefixes", ())) > 1)
        fields.setdefault("carries_identity", is_worth_remembering(who))
        return self.answer(outcome="ignored", reason=reason, who=who, **fields)

    def alias(self, identifier: str) -> str:
        """`identifier` as one of Who.aliases."""
        return f"stripe:{self.account}:{identifier}" if self.account else f"stripe:{identifier}"


def read_event(body: bytes, rules: Rules) -> StripeEvent:
    """Opens the envelope. Raises MalformedEvent if the body is not an event."""
    event = json_object(body)
    kind, event_type, event_id = event.get("object"), event.get("type"), id_of(event.get("id"))
    is_thin = isinstance(kind, str) and kind.startswith("v2.")
    if kind is not None and kind != "event" and not is_thin:
        raise MalformedEvent("the body is an object of Stripe's but no event")
    if not isinstance(event_type, str) or not 0 < len(event_type) <= LONGEST_TYPE or not event_type.isprintable():
        raise MalformedEvent("the body is not a Stripe event: it has no type")
    if event_id is None:
        raise MalformedEvent("the body is not a Stripe event: it has no id")
    return StripeEvent(
        id=event_id,
        type=event_type,
        account=id_of(event.get("account")),
        created=moment_of(event.get("created")),
        is_thin=is_thin,
        is_test=event.get("livemode") is False,
        object=object_of(object_of(event.get("data")).get("object")),
        rules=rules,
    )


def is_worth_remembering(who: Who) -> bool:
    """It says something new of somebody: two at least of an e-mail address, a merchant's id, a click, Stripe's ids."""
    known = sum(1 for fact in (who.email, who.customer_id, who.click_id or who.clicks) if fact)
    return known > 1 or (known == 1 and bool(who.aliases))
