"""The plain objects of recording: arriving events, what the ledger knows or will know about them, and receipts."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.destinations.formats.base import Format
from app.model import DeliveryKind, Inbound, Mapped, Outcome, Rules, fact_key
from app.persons import Person
from app.text import storable

if TYPE_CHECKING:
    from dataclasses import dataclass
else:  # see there
    from app.model import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """One verified, mapped event on its way into the ledger.

    `headers` are the ones worth keeping; `body` is as received. Texts are cleaned here so that every database can store them.
    """

    source: str
    mapped: Mapped
    inbound: Inbound
    headers: dict[str, str]
    received_at: datetime
    recorded_as: int | None = None
    """The ledger's ID of this event if it is already there and is being reprocessed."""
    event_key: str = field(init=False)
    """Source, account and the source's own ID: unique to this event."""

    def __post_init__(self) -> None:
        mapped = self.mapped
        texts = (mapped.event_id, mapped.event_type, mapped.reason)
        stored = (storable(mapped.event_id), storable(mapped.event_type), storable(mapped.reason))
        if stored != texts:
            mapped = replace(mapped, event_id=stored[0], event_type=stored[1], reason=stored[2])
            object.__setattr__(self, "mapped", mapped)
        object.__setattr__(self, "event_key", fact_key(self.source, mapped, mapped.event_id))


@dataclass(slots=True, eq=False)
class Conversion:
    """A row of conversions, existing or new."""

    id: int
    state: str
    kind: DeliveryKind
    source: str
    dedupe_key: str
    hold: str
    event_id: int
    person: Person | None
    occurred_at: int
    created_at: int
    facts: dict[str, Any]
    is_new: bool = False
    is_changed: bool = False
    deliver_at: int | None = None
    """When its deliveries are due; set only if deliveries should be created."""

    @property
    def is_named(self) -> bool:
        """Whether a click ID or an explicit customer ID of its person is known."""
        person = self.person.survivor() if self.person is not None else None
        known = person is not None and bool(person.click_first or person.explicit_id)
        return known or bool(self.facts.get("click_id"))

    @property
    def has_click(self) -> bool:
        """Whether a click ID of its person is known."""
        person = self.person.survivor() if self.person is not None else None
        return bool((person is not None and person.click_first) or self.facts.get("click_id"))

    @property
    def is_complete(self) -> bool:
        """Whether both a click ID and an explicit customer ID are known, so its session has nothing to add."""
        person = self.person.survivor() if self.person is not None else None
        return self.has_click and person is not None and bool(person.explicit_id)

    @property
    def settled_reason(self) -> str:
        """The reason shown for a parked event of the same conversion."""
        return f"another event counted it, as {self.dedupe_key}"

    @property
    def named_reason(self) -> str:
        """The reason shown for a parked event that is counted after all."""
        return f"another event said whose {'purchase' if self.kind == 'sale' else 'submission'} it is"

    def contradicts(self, key: str) -> bool:
        """Whether it is counted under another ID of the same kind as `key` (in_1 where `key` has in_2)."""
        return self.state == "counted" and self.dedupe_key != key and _kind_of(self.dedupe_key) == _kind_of(key)

    def is_another(self, invoice_id: str | None, order_id: str | None) -> bool:
        """Whether it shares a key with a Sale of these IDs only because its invoice has the number of that Sale's order, or the
        other way round. Shops count both from 1."""
        sale = self.facts.get("sale") or {}
        ours = sale.get("invoice_id"), sale.get("order_id")
        if self.state != "counted" or not ours[1] or ours[0] == invoice_id or ours[1] == order_id:
            return False
        return ours[1] == invoice_id or (order_id is not None and ours[0] == order_id)


def _kind_of(key: str) -> str:
    """The kind of ID in a key: `in` for sale:stripe:in_1."""
    return key.rsplit(":", 1)[-1].partition("_")[0]


@dataclass(frozen=True, slots=True)
class Conflict:
    """How an event contradicts what is known. `kind` is as in the table conflicts."""

    event_id: int
    person: Person | None
    conversion: Conversion | None
    reason: str
    kind: str | None = None


@dataclass(slots=True)
class SeenEvent:
    """An event that is already in the ledger, or staged."""

    id: int
    outcome: str
    conversion_id: int | None
    repeats: int = 0
    """How often it was repeated within the group."""
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A destination for new deliveries. sources: None means all."""

    name: str
    format: Format
    kinds: frozenset[str] = frozenset({"sale", "lead"})
    sources: frozenset[str] | None = None
    first_touch: bool = True
    """The first click of a person counts there; else the last."""
    net_of_tax: bool = False
    """It is sent amounts without tax."""
    is_shadow: bool = False
    """Shadow mode: deliveries are recorded and never sent."""
    refunds: bool = False
    """Refunds are sent there, where its format can."""
    lower_sales: bool = False
    """A Sale is lowered by what is refunded before it is sent."""

    @property
    def takes_refunds(self) -> bool:
        return self.refunds and self.format.takes_refunds

    def takes(self, kind: str, source: str) -> bool:
        """Whether its filters accept a conversion of this kind and source."""
        if kind == "refund":
            return self.takes_refunds and self.takes("sale", source)
        return kind in self.kinds and (self.sources is None or source in self.sources)


@dataclass(slots=True, eq=False)
class NewEvent:
    id: int
    arrival: Arrival
    outcome: str
    reason: str
    conversion: Conversion | None
    person: Person | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of recording one event. `id` is the ledger's ID of it (or of the event it repeats), `event_id` the source's."""

    id: int
    event_id: str
    outcome: Outcome
    reason: str
    delivers: bool = False
    """New deliveries were created or held ones released, so workers should be nudged."""
    is_repeat: bool = False
    """The same event was received before."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The configuration that recording needs. Holds are in seconds."""

    rules: Rules
    routes: Sequence[Route]
    person_hold_seconds: float = 20
    purchase_hold_seconds: float = 90
    require_click_id: bool = False
    lead_once: frozenset[str] = frozenset()
    deferred: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Sources whose Leads are sent as deferred. Each maps to the sources whose conversions prove that the address is verified."""
