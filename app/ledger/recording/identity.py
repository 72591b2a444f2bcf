"""Who an event is about, from the event itself and from other events of the same purchase."""

from collections.abc import Sequence

from app.ledger.recording import unnamed
from app.ledger.recording.arrival import Arrival, Conflict, Conversion
from app.ledger.recording.known.event_facts import EventFacts
from app.ledger.recording.known.purchase_facts import (
    complete_who,
    facts_under,
    index_clicks,
    index_ids,
    index_name,
    store_event_facts,
    store_with_conversion,
    without_others,
)
from app.ledger.recording.known.snapshot import Snapshot
from app.model import Outcome
from app.persons import PURCHASE, Identifier, Person, candidates_of, identifiers_of, resolve


class Identity:
    """What one event says about a person, completed with what is known about its purchase."""

    def __init__(self, snapshot: Snapshot, arrival: Arrival, fact_keys: list[str], phone_region: str | None) -> None:
        self.snapshot = snapshot
        self.arrival = arrival
        self.mapped = arrival.mapped
        self.fact_keys = fact_keys
        self.phone_region = phone_region
        self.who = self.mapped.who
        self.identifiers = identifiers_of(self.who, phone_region)

    def other_facts(self) -> list[EventFacts]:
        """What uncounted events say about this purchase, latest first."""
        known = facts_under(self.snapshot, self.fact_keys) if self.snapshot.facts else []
        return without_others(known, self.fact_keys, self.mapped.numbers) if self.mapped.numbers else known

    def learn_from_purchase(self, conversion: Conversion | None) -> None:
        """Completes what this event says about its person with the other events of the purchase."""
        if conversion is None and not self.snapshot.facts:
            return
        self.who = complete_who(self.mapped.who, self.other_facts(), conversion)
        if self.who is not self.mapped.who:
            self.identifiers = identifiers_of(self.who, self.phone_region)
            self.snapshot.load_identifiers(self.identifiers)

    def concerns_somebody(self, known: Sequence[Conversion]) -> bool:
        mapped, who = self.mapped, self.who
        if (
            mapped.outcome in ("sale", "lead", "pending")
            or mapped.carries_identity
            or mapped.completes_identity
            or mapped.verifies_email
        ):
            return True
        if self.identifiers and not mapped.cancels and any(unnamed.is_unnamed(conversion) for conversion in known):
            return True
        persons = {conversion.person.survivor().id for conversion in known if conversion.person is not None}
        return len(persons) > 1 or bool(persons and (who.click_id or who.customer_id or who.clicks))

    def resolve(
        self, event_id: int, known: Sequence[Conversion], conversion: Conversion | None, occurred_at: int
    ) -> Person | None:
        """Returns the person, existing or new, and merges people whom this event shows to be one. None if nothing identifies
        them."""
        snapshot = self.snapshot
        of_purchase = {one.id: one.person for one in known if one.person is not None} if known else {}
        if snapshot.facts:
            of_purchase |= {facts.event_id: facts.person for facts in self.other_facts() if facts.person is not None}
        if not self.identifiers and not of_purchase:
            return None

        def find(candidate: Identifier) -> Sequence[Person]:
            kind, value = candidate
            return [of_purchase[int(value)]] if kind == PURCHASE else snapshot.find(candidate)

        candidates = candidates_of(self.identifiers, of_purchase)
        found = find if of_purchase else snapshot.find
        resolution = resolve(self.who, candidates, found, snapshot.add_person, snapshot.attempted, occurred_at)
        person = resolution.person
        snapshot.merged += resolution.merged
        for reason in resolution.conflicts:
            snapshot.conflicts.append(Conflict(event_id, person, conversion, reason))
        if resolution.new_clicks:
            index_clicks(snapshot, event_id, resolution.new_clicks)
        for identifier in resolution.identifiers:
            if identifier[0] != PURCHASE:
                snapshot.remember(identifier, person)
        return person

    def named(self) -> Person | None:
        """The person that an event without an identity of its own (a cancellation, a parked event) refers to, if known.

        The event is shown with their events and erased with them.
        """
        matches = (self.snapshot.find(identifier) for identifier in self.identifiers)
        return next((persons[0].survivor() for persons in matches if persons), None)

    def store(self, event_id: int, outcome: Outcome, person: Person | None, conversion: Conversion | None) -> None:
        """Stores what this event says, for the search and for a later event that counts the same purchase."""
        mapped = self.mapped
        if outcome not in ("ignored", "parked", "pending"):
            index_name(self.snapshot, event_id, person)
            index_ids(self.snapshot, event_id, mapped)
            return
        if conversion is not None and conversion.state != "counted":
            parked = event_id if outcome == "parked" and mapped.kind == conversion.kind else None
            completes = mapped.completes_details
            store_with_conversion(conversion, self.who, self.other_facts(), parked=parked, completes=completes)
        known = person or self.named() or (conversion.person if conversion is not None else None)
        store_event_facts(
            self.snapshot,
            event_id,
            mapped,
            outcome,
            self.fact_keys if conversion is None else (),
            identifiers_of(mapped.who, self.phone_region) if person is None else (),
            known.survivor() if known else None,
            self.arrival.inbound.body,
        )
