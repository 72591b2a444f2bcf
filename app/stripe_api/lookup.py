"""Looks up at Stripe who a held conversion is about, so that subscribers older than the bridge are attributed too.

A subscription that began before the bridge has its click id and customer id where no coming event tells them: in the metadata of
the subscription, of the customer, or in the Checkout session that began it. Workers ask for these, never a web request, and
once: what was found (or that nothing was) is recorded as an event of its own, of type customer.looked_up, by the same way as
every webhook. So it is seen in the dashboard, is forgotten with its person, and is not asked for again.

https://docs.stripe.com/api/subscriptions/retrieve, https://docs.stripe.com/api/customers/retrieve,
https://docs.stripe.com/api/checkout/sessions/list
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog

from app.errors import MalformedEvent
from app.ledger.engine import Ledger
from app.ledger.forwarding.unidentified import Unidentified, claim_unidentified, has_unidentified, unclaim_unidentified
from app.ledger.reading.by_key import known_events
from app.ledger.recording.arrival import Arrival, Policy, Receipt
from app.ledger.recording.record import record
from app.model import Inbound, Mapped, Rules, Who
from app.sources.base import Source
from app.sources.stripe import checkout, customers
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, id_of, object_of
from app.stripe_api.client import StripeApi, StripeApiError, StripeNotFound, StripeRefused

EVENT_TYPE = "customer.looked_up"
BATCH = 5
"""Conversions claimed at a time: few, so that several workers share a burst, and none waits long for its turn."""
FAILURE_PAUSE_SECONDS = 5.0
REFUSAL_PAUSE_SECONDS = 300.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to look up: bare ids, and the connected account that they belong to."""

    account: str | None
    customer: str | None
    subscription: str | None

    @property
    def event_id(self) -> str:
        """One look-up for each subscription, or for the customer where there is none."""
        return f"lookup:{self.subscription or self.customer}"

    @property
    def event_key(self) -> str:
        return f"stripe:{self.account}:{self.event_id}" if self.account else f"stripe:{self.event_id}"


@dataclass(frozen=True, slots=True)
class Found:
    """What Stripe says of a person, and the objects that say it (for the record)."""

    who: Who
    objects: dict[str, JsonObject]


def target_of(who: Who, account: str | None) -> Target | None:
    """Whom the aliases of an event name; None if they name nobody that can be asked for."""
    bare = [alias.rsplit(":", 1)[-1] for alias in who.aliases]
    customer = next((identity for identity in bare if identity.startswith("cus_")), None)
    subscription = next((identity for identity in bare if identity.startswith("sub_")), None)
    return Target(account, customer, subscription) if customer or subscription else None


def look_up(api: StripeApi, target: Target, rules: Rules) -> Found:
    """Asks for the subscription with its customer, and where those leave a question for the session that began it.

    An object that is gone says nothing. Raises StripeApiError.
    """
    objects: dict[str, JsonObject] = {}
    whos: list[Who] = []
    customer_id = target.customer
    if target.subscription:
        path = f"/v1/subscriptions/{target.subscription}"
        subscription = _get(api, path, target.account, expand=["customer"])
        objects["subscription"] = subscription
        whos.append(customers.who_of_subscription(_as_event(target, subscription, rules)))
        customer_id = customer_id or id_of(subscription.get("customer"))
    if customer_id and not isinstance(objects.get("subscription", {}).get("customer"), dict):
        customer = _get(api, f"/v1/customers/{customer_id}", target.account)
        objects["customer"] = customer
        whos.append(customers.map_customer(_as_event(target, customer, rules)).who)
    if target.subscription and not _is_complete(_combine(whos, target)):
        session = _session_of(api, target)
        objects["session"] = session
        # What Checkout knows goes before what the others say, as it does where its event is received.
        whos.insert(0, checkout.who_of(_as_event(target, session, rules)))
    return Found(_combine(whos, target), {name: thing for name, thing in objects.items() if thing})


class Lookups:
    """Looks up for held deliveries. Safe to share between threads and to run in any number of workers."""

    def __init__(
        self,
        api: StripeApi,
        ledger: Ledger,
        source: Source,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._source = source
        self._policy = policy
        self._clock = clock
        self._rest_until = 0.0
        self._told: set[str] = set()

    def look(self) -> int:
        """Looks up for all that is held and unidentified now; returns for how many deliveries something was asked.

        Condition at Stripe is logged, a refused key once; then it rests a while. Raises LedgerUnavailable.
        """
        asked = 0
        while self._clock() >= self._rest_until:
            with self._ledger.read() as tx:
                if not has_unidentified(tx, self._source.name):
                    break
            claimed = self._ledger.transact(lambda tx: claim_unidentified(tx, self._source.name, BATCH))
            if not claimed:
                break
            asked += self._look_for(claimed)
        return asked

    def _look_for(self, claimed: list[Unidentified]) -> int:
        asked = 0
        for position, unidentified in enumerate(claimed):
            try:
                asked += self._look_for_one(unidentified)
            except StripeApiError as error:
                self._report(error)
                left = [each.delivery_id for each in claimed[position:]]
                self._ledger.transact(partial(unclaim_unidentified, delivery_ids=left))
                break
        return asked

    def _look_for_one(self, unidentified: Unidentified) -> bool:
        target = self._target_of(unidentified)
        if target is None:
            return False
        with self._ledger.read() as tx:
            if known_events(tx, [target.event_key]):
                return False
        answer = look_up(self._api, target, self._policy.rules)
        arrival = self._arrival(target, answer)
        receipts: list[Receipt] = self._ledger.transact(lambda tx: record(tx, [arrival], self._policy))
        log.info(
            "person.looked_up",
            delivery=unidentified.delivery_id,
            event_id=receipts[0].event_id,
            click_id=answer.who.click_id is not None,
            customer_id=answer.who.customer_id is not None,
        )
        self._told.clear()
        return True

    def _target_of(self, unidentified: Unidentified) -> Target | None:
        try:
            mapped = self._source.map(Inbound(unidentified.body, {}), self._policy.rules)
        except MalformedEvent:  # its body was erased meanwhile
            return None
        return target_of(mapped.who, mapped.account)

    def _arrival(self, target: Target, answer: Found) -> Arrival:
        """As an event that carries_identity. The delivery goes at once only where nothing is left to learn of its person; else the
        session that names the rest may still come, and the hold, which is short, runs on."""
        who, now = answer.who, datetime.now(UTC)
        gained = [name for name, value in (("click id", who.click_id), ("customer id", who.customer_id)) if value]
        mapped = Mapped(
            outcome="ignored",
            reason=f"looked up at Stripe for a conversion that lacked its person: {' and '.join(gained) or 'nothing'} found",
            event_id=target.event_id,
            event_type=EVENT_TYPE,
            account=target.account,
            who=who,
            carries_identity=True,
            completes_identity=_is_complete(who),
        )
        body = json.dumps({"object": "lookup", "id": target.event_id, "type": EVENT_TYPE, **answer.objects})
        inbound = Inbound(body.encode(), {"content-type": "application/json"})
        return Arrival(self._source.name, mapped, inbound, {"x-bridge-origin": "lookup"}, now)

    def _report(self, error: StripeApiError) -> None:
        """Once for each kind of trouble, until a look-up works again."""
        refused = isinstance(error, StripeRefused)
        self._rest_until = self._clock() + (REFUSAL_PAUSE_SECONDS if refused else FAILURE_PAUSE_SECONDS)
        if str(error) not in self._told:
            self._told.add(str(error))
            (log.error if refused else log.warning)("lookup.failed", error=str(error))


def _get(api: StripeApi, path: str, account: str | None, **params: object) -> JsonObject:
    try:
        return api.get(path, account, **params)
    except StripeNotFound:
        return {}


def _session_of(api: StripeApi, target: Target) -> JsonObject:
    """The Checkout session that began the subscription; {} where there was none, or the key may not read sessions: that is
    the least of the three, and may be left to the merchant's choice."""
    try:
        listed = _get(api, "/v1/checkout/sessions", target.account, subscription=target.subscription, limit=1)
    except StripeRefused as error:
        log.debug("lookup.partial", error=str(error))
        return {}
    sessions = listed.get("data")
    return object_of(sessions[0]) if isinstance(sessions, list) and sessions else {}


def _as_event(target: Target, thing: JsonObject, rules: Rules) -> StripeEvent:
    """An object of Stripe's in the envelope that the mapping reads."""
    return StripeEvent(target.event_id, EVENT_TYPE, target.account, None, False, False, thing, rules)


def _combine(whos: list[Who], target: Target) -> Who:
    """The first word on each point."""
    scope = f"stripe:{target.account}:" if target.account else "stripe:"
    asked = tuple(scope + bare_id for bare_id in (target.customer, target.subscription) if bare_id)
    combined = Who(aliases=asked)
    for who in whos:
        combined = replace(
            combined,
            customer_id=combined.customer_id or who.customer_id,
            click_id=combined.click_id or who.click_id,
            email=combined.email or who.email,
            name=combined.name or who.name,
            phone=combined.phone or who.phone,
            clicks={**who.clicks, **combined.clicks},
            aliases=combined.aliases + tuple(alias for alias in who.aliases if alias not in combined.aliases),
        )
    return combined


def _is_complete(who: Who) -> bool:
    """Nothing is left to learn that an event could still tell."""
    return who.click_id is not None and who.customer_id is not None
