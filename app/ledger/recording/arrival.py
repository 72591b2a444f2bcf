"""What recording works on, as plain objects: events that arrive, what the ledger knows or is to know of them, and what is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.destinations.formats.base import Format
from app.model import DeliveryKind, Inbound, Mapped, Outcome, Rules
from app.persons import Person
from app.text import storable


@dataclass(frozen=True, slots=True)
class Arrival:
    """One verified, mapped event on its way into the ledger. `headers` are those worth keeping, `body` is as received.

    Anyone who makes one, its texts are such as every database takes."""

    source: str
    mapped: Mapped
    inbound: Inbound
    headers: dict[str, str]
    received_at: datetime
    recorded_as: int | None = None
    """The ledger's id of this event where it is there already and is reprocessed."""

    def __post_init__(self) -> None:
        texts = (self.mapped.event_id, self.mapped.event_type, self.mapped.reason)
        stored = tuple(storable(text) for text in texts)
        if stored != texts:
            cleaned = replace(self.mapped, event_id=stored[0], event_type=stored[1], reason=stored[2])
            object.__setattr__(self, "mapped", cleaned)

    @property
    def event_key(self) -> str:
        account = f"{self.mapped.account}:" if self.mapped.account else ""
        return f"{self.source}:{account}{self.mapped.event_id}"


@dataclass(slots=True, eq=False)
class Conversion:
    """A row of conversions, or one to be."""

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
    """Set where deliveries are to be made of it: when they are due."""

    @property
    def is_named(self) -> bool:
        """A click id or an explicit customer id is known of its person."""
        person = self.person.survivor() if self.person is not None else None
        known = person is not None and bool(person.click_first or person.explicit_id)
        return known or bool(self.facts.get("click_id"))

    @property
    def has_click(self) -> bool:
        """A click id is known of its person."""
        person = self.person.survivor() if self.person is not None else None
        return bool((person is not None and person.click_first) or self.facts.get("click_id"))

    @property
    def is_complete(self) -> bool:
        """A click id and an explicit customer id are known: nothing is left that its session could tell."""
        person = self.person.survivor() if self.person is not None else None
        return self.has_click and person is not None and bool(person.explicit_id)

    @property
    def settled_reason(self) -> str:
        """What to say of a parked event that wanted to count the same."""
        return f"another event counted it, as {self.dedupe_key}"

    @property
    def named_reason(self) -> str:
        """What to say of a parked event that is counted after all."""
        return f"another event said whose {'purchase' if self.kind == 'sale' else 'submission'} it is"

    def contradicts(self, key: str) -> bool:
        """It is counted under another id of the same kind as `key` (in_1, and this is in_2)."""
        return self.state == "counted" and self.dedupe_key != key and _kind_of(self.dedupe_key) == _kind_of(key)


def _kind_of(key: str) -> str:
    """in of sale:stripe:in_1."""
    return key.rsplit(":", 1)[-1].partition("_")[0]


@dataclass(frozen=True, slots=True)
class Conflict:
    """What an event says against what is known. kind: as in the table conflicts."""

    event_id: int
    person: Person | None
    conversion: Conversion | None
    reason: str
    kind: str | None = None


@dataclass(slots=True)
class SeenEvent:
    """An event that is in the ledger already, or staged."""

    id: int
    outcome: str
    conversion_id: int | None
    repeats: int = 0
    """How often it came again within the group."""
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One destination that new deliveries go to. sources: None for all."""

    name: str
    format: Format
    kinds: frozenset[str] = frozenset({"sale", "lead"})
    sources: frozenset[str] | None = None
    first_touch: bool | None = None
    """Which click counts there; None: as everywhere."""

    net_of_tax: bool = False
    """It is sent amounts without tax."""
    is_shadow: bool = False
    """What would be sent is recorded, and nothing is."""
    refunds: bool = False
    """Refunds are sent there, where its format can."""
    lower_sales: bool = False
    """A Sale is lowered by what is refunded before it is sent."""

    @property
    def takes_refunds(self) -> bool:
        return self.refunds and self.format.takes_refunds

    def takes(self, kind: str, source: str) -> bool:
        """Whether its filter lets a conversion of this kind and source through. A refund goes where Sales go."""
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
    """What became of one event. `id` is the ledger's id of it (or of the one it repeats), `event_id` the source's."""

    id: int
    event_id: str
    outcome: Outcome
    reason: str
    delivers: bool = False
    """New deliveries were made, or held ones released: worth a nudge."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What recording needs to know of the configuration. Holds are in seconds."""

    rules: Rules
    routes: Sequence[Route]
    person_hold_seconds: float = 20
    purchase_hold_seconds: float = 90
    first_touch: bool = True
    require_click_id: bool = False
    lead_once: frozenset[str] = frozenset()
    deferred: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Sources whose Leads are sent deferred, each with the sources whose conversions show that the address is verified."""
