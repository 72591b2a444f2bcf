"""Bodies of the example data: what Stripe, Typeform, Clerk and Calendly would send about imaginary people."""

import itertools
import json
import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.browser.example_data import Moment

FIRST = (
    "Ada", "Noor", "Ravi", "Lena", "Tomás", "Yuki", "Amara", "Jonas", "Inês", "Malik", "Sofia", "Wei", "Freya", "Omar",
    "Chloé", "Mateo", "Zofia", "Kwame", "Elif", "Hugo", "Priya", "Anton", "Mei", "Lucas", "Nadia", "Otto", "Leila", "Bram",
)  # fmt: skip
LAST = (
    "Lovelace", "Haddad", "Menon", "Brandt", "Silva", "Tanaka", "Okafor", "Weber", "Lopes", "Rahman", "Rossi", "Zhang",
    "Larsen", "Farouk", "Dubois", "Vargas", "Nowak", "Mensah", "Yıldız", "Laurent", "Iyer", "Novák", "Lin", "Moreau",
)  # fmt: skip
DOMAINS = (
    "atelier", "northwind", "kite", "lumen", "studio9", "fern", "halden", "quarry", "oakline", "papaya", "bluebird", "tandem",
    "mosaic", "harbor",
)  # fmt: skip
AGENTS = {
    "stripe": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    "typeform": "Typeform Webhooks",
    "clerk": "Svix-Webhooks/1.24",
    "calendly": "Calendly",
}
PRICES = (1900, 2900, 4900, 4900, 9900, 14_900, 24_900)
Later = tuple[float, str, bytes]
_numbers = itertools.count(1)


def _id(prefix: str, dice: random.Random) -> str:
    letters = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    return prefix + "1Qb" + "".join(dice.choices(letters, k=13))


def dated(body: bytes, at: float) -> bytes:
    """The body with the times that stand in it (one for each way of writing them) put to `at`."""
    moment = datetime.fromtimestamp(at, UTC)
    for mark, value in (
        (b"1780000000", f"{at:.0f}"),
        (b"1777111110999", f"{at * 1000:.0f}"),
        (b"2026-05-04T10:00:00Z", f"{moment:%Y-%m-%dT%H:%M:%SZ}"),
        (b"2026-07-01T07:30:12.987654Z", f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"),
    ):
        body = body.replace(mark, value.encode())
    return body


@dataclass
class Human:
    """Somebody; with no name, one of whom a body says nothing."""

    first: str
    last: str
    domain: str = "kite.example"
    click: str | None = None

    @classmethod
    def make(cls, dice: random.Random) -> "Human":
        click = dice.choices((_id("clk_", dice)[:12], None, "clk_expired"), (80, 18, 1.2))[0]
        return cls(dice.choice(FIRST), dice.choice(LAST), f"{dice.choice(DOMAINS)}.example", click)

    @property
    def email(self) -> str | None:
        written = f"{self.first}.{self.last}".lower().replace("ı", "i")
        plain = unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode()
        return f"{plain}@{self.domain}" if self.first else None

    @property
    def name(self) -> str | None:
        return f"{self.first} {self.last}" if self.first else None


def stripe(event_type: str, obj: dict[str, Any], dice: random.Random) -> bytes:
    return json.dumps(
        {
            "id": _id("evt_", dice),
            "object": "event",
            "api_version": "2025-11-17.clover",
            "created": 1_780_000_000,
            "livemode": True,
            "type": event_type,
            "data": {"object": obj},
        }
    ).encode()


def session(human: Human, dice: random.Random, **fields: Any) -> dict[str, Any]:
    metadata = {"clickId": human.click} if human.click else {}
    return {
        "id": _id("cs_live_", dice),
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": dice.choice(PRICES),
        "currency": dice.choice(("usd", "usd", "usd", "eur", "gbp", "jpy")),
        "created": 1_780_000_000,
        "customer": None,
        "customer_details": {"email": human.email, "name": human.name, "phone": None},
        "metadata": metadata,
        "payment_intent": _id("pi_", dice),
        "invoice": None,
        "subscription": None,
        "livemode": True,
        **fields,
    }


def checkout(human: Human, dice: random.Random, **fields: Any) -> bytes:
    return stripe("checkout.session.completed", session(human, dice, **fields), dice)


def invoice(
    human: Human, dice: random.Random, reason: str, customer: str, subscription: str, **fields: Any
) -> dict[str, Any]:
    amount = fields.pop("amount", dice.choice(PRICES))
    return {
        "id": _id("in_", dice),
        "object": "invoice",
        "amount_due": amount,
        "amount_paid": amount,
        "total": amount,
        "billing_reason": reason,
        "currency": "usd",
        "customer": customer,
        "customer_email": human.email,
        "customer_name": human.name,
        "metadata": {},
        "status": "paid",
        "status_transitions": {"paid_at": 1_780_000_000},
        "lines": {"object": "list", "data": []},
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": subscription, "metadata": {}},
        },
        **fields,
    }


def first_invoice(human: Human, dice: random.Random) -> bytes:
    """An invoice whose checkout session has not come yet."""
    paid = invoice(human, dice, "subscription_create", _id("cus_", dice), _id("sub_", dice))
    return stripe("invoice.paid", paid, dice)


def buy(human: Human, dice: random.Random) -> Iterator[Later]:
    body = checkout(human, dice)
    yield 0, "stripe", body
    if dice.random() < 0.08:
        yield 40, "stripe", body
    paid = json.loads(body)["data"]["object"]
    if dice.random() < 0.3:
        intent = {"id": paid["payment_intent"], "object": "payment_intent", "status": "succeeded", "metadata": {}}
        yield 1, "stripe", stripe("payment_intent.succeeded", intent | {"currency": paid["currency"]}, dice)


def subscribe(human: Human, dice: random.Random) -> Iterator[Later]:
    customer, subscription = _id("cus_", dice), _id("sub_", dice)
    paid = invoice(human, dice, "subscription_create", customer, subscription)
    yield 0, "stripe", stripe("invoice.paid", paid, dice)
    done = session(
        human, dice, mode="subscription", payment_intent=None, invoice=paid["id"], subscription=subscription,
        customer=customer, amount_total=paid["total"], currency="usd",
    )  # fmt: skip
    yield 4, "stripe", stripe("checkout.session.completed", done, dice)


def form(human: Human, dice: random.Random) -> Iterator[Later]:
    number = next(_numbers)
    token = _id("", dice).lower()
    response = {
        "form_id": "demoForm",
        "token": token,
        "submitted_at": "2026-05-04T10:00:00Z",
        "hidden": {"clickid": human.click} if human.click else {},
        "definition": {
            "id": "demoForm",
            "title": "Request a demo",
            "fields": [
                {"id": "f1", "ref": "name", "type": "short_text", "title": "What is your name?"},
                {"id": "f2", "ref": "email", "type": "email", "title": "Your work e-mail"},
            ],
        },
        "answers": [
            {"type": "text", "text": human.name, "field": {"id": "f1", "ref": "name", "type": "short_text"}},
            {"type": "email", "email": human.email, "field": {"id": "f2", "ref": "email", "type": "email"}},
        ],
    }
    yield (
        0,
        "typeform",
        json.dumps({"event_id": f"01J{number:08}", "event_type": "form_response", "form_response": response}).encode(),
    )


def sign_up(human: Human, dice: random.Random) -> Iterator[Later]:
    person = {
        "id": _id("user_", dice),
        "object": "user",
        "first_name": human.first,
        "last_name": human.last,
        "email_addresses": [{"id": "idn_1", "email_address": human.email}],
        "primary_email_address_id": "idn_1",
        "phone_numbers": [],
        "created_at": 1_777_111_110_999,
        "unsafe_metadata": {"clickId": human.click} if human.click else {},
        "public_metadata": {},
        "external_id": None,
    }
    yield 0, "clerk", json.dumps({"type": "user.created", "object": "event", "data": person}).encode()


def call(human: Human, dice: random.Random) -> Iterator[Later]:
    number = _id("", dice)
    payload: dict[str, Any] = {
        "created_at": "2026-07-01T07:30:12.987654Z",
        "email": human.email,
        "event": f"https://api.calendly.com/scheduled_events/EV{number}",
        "name": human.name,
        "questions_and_answers": [],
        "rescheduled": False,
        "status": "active",
        "tracking": {"utm_source": "ads"},
        "uri": f"https://api.calendly.com/scheduled_events/EV{number}/invitees/INV{number}",
        "scheduled_event": {"name": "Discovery call"},
    }
    yield 0, "calendly", json.dumps({"event": "invitee.created", "payload": payload}).encode()


BY_KIND: dict[str, Callable[[Human, random.Random], Iterator[Later]]] = {
    "buy": buy,
    "subscribe": subscribe,
    "form": form,
    "sign up": sign_up,
    "call": call,
}


def marta(end: float, day: float) -> Sequence["Moment"]:
    """One person's long way: click, form, sign-up, subscription, two renewals, a refund, and an id that contradicts."""
    from tests.browser.example_data import Moment

    dice = random.Random(1)
    human = Human("Marta", "Reis", "lumen.example", "clk_9fQ2mB7")
    customer, subscription = "cus_Rk75X8ptT7qWmZ", "sub_1QbrdgFxSubMarta"
    found = [Moment(end - 66 * day + later, source, body) for later, source, body in form(human, dice)]
    found += [Moment(end - 65 * day + later, source, body) for later, source, body in sign_up(human, dice)]
    first = invoice(human, dice, "subscription_create", customer, subscription, amount=4900)
    begun = session(
        human, dice, mode="subscription", payment_intent=None, invoice=first["id"], subscription=subscription,
        customer=customer, amount_total=4900, currency="usd",
    )  # fmt: skip
    found.append(Moment(end - 64 * day, "stripe", stripe("invoice.paid", first, dice)))
    found.append(Moment(end - 64 * day + 3, "stripe", stripe("checkout.session.completed", begun, dice)))
    for days in (34, 4):
        again = invoice(human, dice, "subscription_cycle", customer, subscription, amount=4900)
        found.append(Moment(end - days * day, "stripe", stripe("invoice.paid", again, dice)))
    extra = session(human, dice, customer=customer, amount_total=12_000, currency="usd")
    extra["metadata"]["user_id"] = "acct_5521"
    found.append(Moment(end - 3 * day, "stripe", stripe("checkout.session.completed", extra, dice)))
    back = {
        "id": "ch_1QbrdgFxMartaBack", "object": "charge", "amount": 12_000, "amount_captured": 12_000, "captured": True,
        "amount_refunded": 12_000, "refunded": True, "currency": "usd", "customer": customer, "paid": True,
        "payment_intent": extra["payment_intent"], "status": "succeeded", "metadata": {},
        "created": 1_780_000_000,
    }  # fmt: skip
    found.append(Moment(end - 2 * day, "stripe", stripe("charge.refunded", back, dice)))
    return found
