"""The words of the domain as plain, frozen values. Pure: no clock, no network, no database."""

import dataclasses
from collections.abc import Mapping as MappingABC
from dataclasses import field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from app.clicks import Seen
from app.money import Money

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen=False, **options):
        """As dataclasses.dataclass. What is frozen is compared and hashed as such; that its fields stay is up to mypy.

        At run time, frozen makes __init__ set each field through a call of object.__setattr__: a tenth of the time of mapping an
        event, which makes a dozen of these values.
        """
        return dataclasses.dataclass(unsafe_hash=frozen, **options)


Kind = Literal["sale", "lead"]
"""What a conversion is."""
DeliveryKind = Literal["sale", "lead", "refund"]
"""What a delivery carries: a conversion, or what became of the money of a Sale."""
Hold = Literal["none", "person", "click", "details", "link", "purchase"]
"""What the first attempt of a conversion waits for, unless it is known already. person: an event that names the customer
(STRIPE_HOLD, 20 s); click: an event of the same purchase that carries the click id, also where the customer id is known (20 s);
details: another event of the same purchase, which may carry the click id or the customer id (20 s); link: the
event that says which payment an invoice belongs to, since that payment may be counted already (20 s); purchase: an event that
should be the Sale instead of this one (opt-in events, 90 s)."""
Outcome = Literal["sale", "lead", "pending", "ignored", "parked", "duplicate"]
Status = Literal["pending", "retrying", "delivered", "unattributed", "dead", "discarded", "shadow"]
AttemptResult = Literal[
    "delivered", "transient", "permanent", "unknown", "unauthorized", "redirected", "unattributed", "continued"
]
"""What one attempt came to. unknown: the destination may have taken it; unattributed: it works, and knows no click or customer
for this conversion; continued: one of several requests of a delivery was answered, and the next one is due at once."""

DELIVERY_KINDS: tuple[DeliveryKind, ...] = ("sale", "lead", "refund")
STATUSES: tuple[Status, ...] = ("pending", "retrying", "delivered", "unattributed", "dead", "discarded", "shadow")
OUTCOMES: tuple[Outcome, ...] = ("sale", "lead", "pending", "ignored", "parked", "duplicate")

CLICK_ID_NAMES = ("clickId", "clickid", "click_id", "cms_click_id", "dub_click_id", "dubClickId", "dub_id", "cms_rf")
ClickFields = tuple[tuple[str, tuple[str, ...]], ...]
CLICK_FIELDS: ClickFields = (
    ("gclid", ("gclid",)),
    ("gbraid", ("gbraid",)),
    ("wbraid", ("wbraid",)),
    ("fbclid", ("fbclid",)),
    ("fbp", ("fbp", "_fbp")),
    ("fbc", ("fbc", "_fbc")),
    ("ttclid", ("ttclid",)),
    ("li_fat_id", ("li_fat_id",)),
    ("msclkid", ("msclkid",)),
    ("ga_client_id", ("ga_client_id", "_ga")),
)
"""Click ids that a person keeps beside the main one: each name with the fields that hold it."""
CUSTOMER_ID_NAMES = (
    "customerExternalId",
    "customer_external_id",
    "external_id",
    "externalId",
    "user_id",
    "userId",
    "dubCustomerExternalId",
    "dubCustomerId",
)


@dataclass(frozen=True, slots=True)
class Inbound:
    """One webhook request as it came in. `headers` has lower-case names; `url` is the URL that the provider called,
    rebuilt from PUBLIC_URL (never from Host), or "" where PUBLIC_URL is not set."""

    body: bytes
    headers: MappingABC[str, str]
    url: str = ""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


@dataclass(frozen=True, slots=True)
class Rules:
    """How bodies are read: everything an operator may configure about mapping, with the contract's defaults."""

    click_id_names: tuple[str, ...] = CLICK_ID_NAMES
    customer_id_names: tuple[str, ...] = CUSTOMER_ID_NAMES
    clicks: ClickFields = CLICK_FIELDS
    reference_click_prefixes: tuple[tuple[str, bool], ...] = (("clk_", True), ("clickid_", True), ("dub_id_", False))
    """(prefix, keep): a Stripe client_reference_id that begins with prefix is a click id, with the prefix kept or cut."""
    reference_names_customer: bool = True
    """A client_reference_id that is not a click id names the customer (STRIPE_REFERENCE=customer)."""
    sale_events: frozenset[str] = frozenset({"checkout", "invoice"})
    """Of checkout, invoice, payment_intent, charge: which Stripe events may become a Sale (STRIPE_SALE_EVENTS)."""
    net_of_tax: bool = False
    """Sale amounts are sent net of tax, unless a destination says otherwise."""
    accept_test_events: bool = False
    """Test events are mapped like any other, for sources that `test_events` does not name."""
    test_events: MappingABC[str, bool] = field(default_factory=dict)
    """The same by source (<SOURCE>_ALLOW_TEST_EVENTS)."""
    looks_up_persons: bool = False
    """A worker looks up at Stripe whom a conversion is about (STRIPE_API_KEY), so that one with no name may wait for that."""
    phone_region: str | None = None
    """Two-letter region for phone numbers with no country code; None guesses nothing."""

    def accepts_test_events(self, source: str) -> bool:
        return self.test_events.get(source, self.accept_test_events)


@dataclass(frozen=True, slots=True)
class Who:
    """What one event says of its person; None where it is silent. Values are as sent, stripped; empty is None."""

    customer_id: str | None = None
    """An explicit customer id (customerExternalId): metadata, hidden field, account id of a sign-up."""
    is_reference: bool = False
    """`customer_id` comes from a reference that may as well name an order (Stripe's client_reference_id): one that was never seen
    before does not outrank what is known of the person."""
    click_id: str | None = None
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    provider_id: str | None = None
    """The provider's own id of the customer ("cus_1"), which names them where nobody gave them another one."""
    aliases: tuple[str, ...] = ()
    """Ids the provider itself uses for this person, with the source's name before them: "stripe:cus_1", "stripe:sub_1".
    Scoped by the account where there is one ("stripe:acct_1:cus_1")."""
    clicks: MappingABC[str, str] = field(default_factory=dict)
    """Click ids beside the main one, by their names in Rules.clicks."""


@dataclass(frozen=True, slots=True)
class Product:
    """One line of a purchase; `id` is the seller's own."""

    id: str | None = None
    name: str | None = None
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class Sale:
    """Money collected. `invoice_id` is the bare id sent as invoiceId; `money` includes `tax` (minor units)."""

    invoice_id: str
    money: Money
    order_id: str | None = None
    event_name: str = "checkout_completed"
    metadata: MappingABC[str, Any] = field(default_factory=dict)
    products: tuple[Product, ...] = ()
    """What was bought, in the order of the lines."""
    promotion_codes: tuple[str, ...] = ()
    tax: int = 0

    @property
    def product_ids(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(product.id for product in self.products if product.id))

    @property
    def net(self) -> "Sale":
        """The same with an amount that has no tax in it."""
        return replace(self, money=Money(self.money.minor - self.tax, self.money.currency))


@dataclass(frozen=True, slots=True)
class Lead:
    """Somebody raised a hand. `lead_id` is the bare submission id."""

    lead_id: str
    event_name: str = "form_submitted"
    mode: Literal["deferred"] | None = None
    metadata: MappingABC[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A refund or dispute of a Sale. `reference` is unique to it (re_…, dp_…, ch_…)."""

    kind: Literal["refund", "dispute"]
    reference: str
    money: Money
    status: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """Money of a Sale that went back, or came again. `refund_id` is the bare id, without source; `amount` is that of this refund
    alone, `left` what is left of `sale_amount` after it."""

    refund_id: str
    amount: Money
    left: Money
    sale_amount: Money
    """The amount that the Sale was sent with."""
    is_restored: bool = False
    """The refund failed, or the dispute was won: `amount` counts again, and `left` includes it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A conversion that lacks something, for an operator who fills it in by hand.

    lacks: which of "amount", "currency", "id" and "person" are missing; nothing else may be. sale: a Sale as far as it could be
    read; its money is not. amount, tax, unit and currency: the money as the body gives it (unit: as payment.money_of reads it).
    """

    lacks: tuple[str, ...]
    sale: Sale | None = None
    amount: Any = None
    tax: Any = None
    unit: str = "major"
    currency: str | None = None
    reason: str = ""
    """Of the event once nothing is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What one authentic event says, before anything is remembered.

    outcome "sale" has `sale`, "lead" has `lead`; "parked" may carry either (what could be read) and its reason says what is
    missing; "pending" is money promised and not collected; "ignored" is authentic and no conversion. `reason` is a short
    sentence for people, always set.
    """

    outcome: Literal["sale", "lead", "pending", "ignored", "parked"]
    reason: str
    event_id: str
    """The source's own id of this event; where it has none, one derived from the submission or the body."""
    event_type: str
    account: str | None = None
    """Connect's account, or another tenant of the source: scopes `keys`."""
    keys: tuple[str, ...] = ()
    """Bare ids that name this purchase or submission, the one to send first: ("in_1", "pi_1", "cs_1") or ("tok_1",).
    A purchase is counted once whichever of them an event names."""
    weak_keys: tuple[str, ...] = ()
    """Those of `keys` that name it only where nothing contradicts: a purchase counted under another id of the same kind as the
    first of `keys` (in_1 beside in_2) is another one, whatever loose key they share."""
    numbers: tuple[tuple[str, str], ...] = ()
    """Those of `keys` that are numbers of a series, where the source has several that may both begin at 1: ("invoice", "9"),
    ("order", "5"). Money that went back is kept under them, so that order 5 is never taken for invoice 5."""
    gateway_keys: tuple[str, ...] = ()
    """Ids under which the gateway that took the money reports the same payment itself, after its source: "stripe:pi_1"."""
    key_prefixes: tuple[str, ...] = ()
    """Truncated ids of the same purchase (Stripe's payment_details.order_reference): compared as prefixes, never sent."""
    truncatable_keys: tuple[str, ...] = ()
    """Those of `keys` that another event may name in its `key_prefixes`, before or after this one."""
    occurred_at: datetime | None = None
    """When it happened, aware; None: when it was received."""
    who: Who = Who()
    mentions: tuple[str, ...] = ()
    """Further ids by which people look for this event: of a refund, of a subscription."""
    sale: Sale | None = None
    lead: Lead | None = None
    mark: Adjustment | None = None
    """A refund or dispute of the Sale of `keys`. With `sale`, all that was refunded of it: kept where it was more before."""
    hold: Hold = "none"
    """May the first attempt wait, and for which event?"""
    completes_identity: bool = False
    """This event names the person for good: a conversion of the same person that was held may go."""
    links_keys: bool = False
    """`keys` belong together although this event is not a conversion (invoice_payment.paid)."""
    cancels: bool = False
    """The pending purchase of these keys will not be paid (async_payment_failed, expired). With `links`, one that is not known
    yet is remembered as such."""
    verifies_email: bool = False
    """It shows that the person's address is verified: the second event of a deferred Lead may go."""
    completes_details: bool = False
    """No other event of this purchase says more of its person: a conversion held for `details` may go."""
    about: Kind | None = None
    """What `keys` name where that does not follow from `lead`: an ignored event of a booking is about a Lead."""
    carries_identity: bool = False
    """`who` is worth remembering although this event is not a conversion (customer.created names an e-mail)."""
    draft: Draft | None = None
    """Of a parked event, what must be filled in before it counts; None where no value that is filled in can make it count."""

    @property
    def kind(self) -> Kind:
        return self.about or ("lead" if self.lead is not None else "sale")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a format needs for one body: the conversion and what is known of its person. `source` is its name. Of a refund,
    `sale` is the Sale that it belongs to."""

    kind: DeliveryKind
    occurred_at: datetime
    customer_id: str
    click_id: str | None
    email: str | None
    name: str | None
    phone: str | None
    sale: Sale | None = None
    lead: Lead | None = None
    refund: Refund | None = None
    source: str = ""
    clicks: MappingABC[str, Seen] = field(default_factory=dict)
    """Click ids beside the main one, by their names in [attribution.clicks]: those of the destination's touch."""
    key: str = ""
    """The delivery's key, which is the same in every attempt."""


def dedupe_key(source: str, mapped: Mapped, key: str) -> str:
    """`sale:stripe:in_1`, or `sale:stripe:acct_1:in_1` for a connected account."""
    return f"{mapped.kind}:{fact_key(source, mapped, key)}"


def fact_key(source: str, mapped: Mapped, key: str) -> str:
    """`stripe:in_1`: a dedupe key without the kind, under which events of either kind leave what they say of a person."""
    scope = f"{mapped.account}:" if mapped.account else ""
    return f"{source}:{scope}{key}"
