"""Records a group of events in one transaction: each is new, seen before, or another word about something already counted.

The unique columns (events.event_key, dedupe_keys.key) are what stops duplicates; the look before the insert only makes the
usual case cheap. Recording the same group again changes nothing but the counts of repeats.
"""

from collections.abc import Sequence
from typing import Any

from app.ledger.recording.arrival import Arrival, Conversion, NewEvent, Policy, Receipt, SeenEvent
from app.ledger.recording.deferred_leads import VERIFIED_EARLY, add_second, deferred_leads, was_verified
from app.ledger.recording.flush import flush
from app.ledger.recording.payload import facts_of
from app.ledger.recording.snapshot import Snapshot
from app.ledger.transaction import Tx
from app.model import Mark, Outcome, dedupe_key
from app.money import LARGEST_MINOR
from app.persons import NOBODY, Person, identifiers_of, resolve
from app.text import storable


def record(tx: Tx, arrivals: Sequence[Arrival], policy: Policy, *, commits: bool = False) -> list[Receipt]:
    """Records `arrivals` in their order within the caller's write transaction; receipts in the same order.

    commits: the caller has nothing else to do in that transaction, which may end with this.
    """
    snapshot = Snapshot(tx, policy.routes, policy.first_touch)
    recordings = [_Recording(snapshot, arrival, policy) for arrival in arrivals]
    keys = [key for recording in recordings for key in recording.keys]
    identifiers = [identifier for recording in recordings for identifier in recording.identifiers]
    snapshot.load(arrivals, keys, identifiers)
    receipts = [recording.run() for recording in recordings]
    flush(snapshot, commits=commits)
    return receipts


class _Recording:
    """One event against the snapshot."""

    def __init__(self, snapshot: Snapshot, arrival: Arrival, policy: Policy) -> None:
        self.snapshot = snapshot
        self.arrival = arrival
        self.mapped = arrival.mapped
        self.policy = policy
        self.keys = [dedupe_key(arrival.source, self.mapped, key) for key in self.mapped.keys]
        self.loose = [dedupe_key(arrival.source, self.mapped, key) for key in self.mapped.loose_keys]
        self.identifiers = identifiers_of(self.mapped.who, policy.rules.phone_region)
        self.event_id = 0
        self.person: Person | None = None
        self.conversion: Conversion | None = None

    def run(self) -> Receipt:
        event_id = self.mapped.event_id
        seen = self.snapshot.events.get(self.arrival.event_key)
        if seen is not None and self.arrival.recorded_as is None:
            seen.repeats += 1
            return Receipt(
                seen.id, event_id, "duplicate", f"this event was received before, and then was: {seen.outcome}"
            )
        self.event_id = self.arrival.recorded_as or self.snapshot.next_id()
        self.conversion = self._known_conversion()
        if self._concerns_somebody():
            self.person = self._resolve_person()
        leads = deferred_leads(self.snapshot, self.person) if self.policy.deferred and self.person is not None else []
        verified = self._send_what_was_deferred(leads)
        outcome, reason, delivers = self._decide()
        if verified and outcome == "ignored":
            outcome, reason = "lead", f"the address is verified: the second event of {verified[0].facts['follows']}"
        elif outcome == "ignored" and self._is_verified_early(leads):
            reason = VERIFIED_EARLY
        delivers = delivers or bool(verified)
        self.snapshot.new_events.append(
            NewEvent(self.event_id, self.arrival, outcome, reason, self.conversion, self.person or self._named())
        )
        if seen is None:
            self.snapshot.events[self.arrival.event_key] = SeenEvent(self.event_id, outcome, None, is_new=True)
        return Receipt(self.event_id, event_id, outcome, reason, delivers)

    def _send_what_was_deferred(self, leads: Sequence[Conversion]) -> list[Conversion]:
        """The second event, without click id and mode, of each deferred Lead of a person who is verified now; once."""
        policy, mapped, source = self.policy, self.mapped, self.arrival.source
        if self.person is None or self.person.customer_id is None:
            return []
        converts = mapped.outcome in ("sale", "lead")
        made = []
        for first in leads:
            verifies = mapped.verifies and source == first.source
            if not verifies and not (converts and source in policy.deferred.get(first.source, ())):
                continue
            second = add_second(self.snapshot, first, self.event_id, self._occurred_at())
            if second is not None:
                made.append(second)
        if made and self.conversion is None and not self.keys:
            self.conversion = made[0]
        return made

    def _is_verified_early(self, leads: Sequence[Conversion]) -> bool:
        return (
            self.mapped.verifies
            and self.arrival.source in self.policy.deferred
            and self.person is not None
            and not any(lead.source == self.arrival.source for lead in leads)
        )

    def _decide(self) -> tuple[Outcome, str, bool]:
        mapped, conversion = self.mapped, self.conversion
        if mapped.releases and self.person is not None:
            self.snapshot.released.append(self.person)
        if mapped.mark is not None:
            self._mark(mapped.mark)
            return mapped.outcome, mapped.reason, False
        if conversion is not None and conversion.state == "counted":
            self.snapshot.claim_keys(self.keys, conversion)
            if mapped.outcome in ("sale", "lead"):
                return self._another_word(conversion)
            if mapped.outcome == "pending" or (mapped.links and not mapped.cancels):
                return "duplicate", f"this purchase is counted already, as {conversion.dedupe_key}", mapped.releases
            return mapped.outcome, mapped.reason, mapped.releases
        if mapped.outcome in ("sale", "lead"):
            return (
                self._count() if self.keys else ("parked", "it carries no id by which it could be counted once", False)
            )
        if mapped.outcome == "pending" and self.keys:
            self._keep_open("pending")
        elif mapped.cancels:
            if self.keys and (mapped.links or (conversion is not None and conversion.state == "pending")):
                self._keep_open("released")
        elif mapped.links and len(self.keys) > 1:
            self._keep_open("linked")
        return mapped.outcome, mapped.reason, mapped.releases

    def _another_word(self, conversion: Conversion) -> tuple[Outcome, str, bool]:
        """The purchase is counted. An event that knows it better than the opt-in one that was held replaces its facts."""
        better = conversion.hold == "purchase" and self.mapped.hold != "purchase"
        if better and self.snapshot.unattempted(conversion):
            self._take_facts(conversion)
            conversion.is_changed = True
            self.snapshot.claimed.append(conversion)
            if conversion.is_new:
                conversion.deliver_at = self._due_at()
            return "duplicate", f"this purchase was waiting for this event, and goes as {conversion.dedupe_key}", True
        released = self.mapped.releases
        return "duplicate", f"this {conversion.kind} is counted already, as {conversion.dedupe_key}", released

    def _count(self) -> tuple[Outcome, str, bool]:
        """It is the first word of this purchase or submission that counts."""
        person = self.person
        if person is not None and person.customer_id is None:
            person.customer_id = person.best_id()
            person.is_changed = True
        if person is None or person.customer_id is None:
            return "parked", NOBODY, False
        if self.policy.require_click_id and self.mapped.lead is not None and not person.click_first:
            return "parked", "it carries no click id, and REQUIRE_CLICK_ID is set", False
        if self._is_known_lead(person):
            return "ignored", "this person has a Lead already, and STRIPE_LEAD_ONCE is set", False
        conversion = self.conversion
        if conversion is None:
            conversion = self.conversion = self._new_conversion("counted")
        else:
            conversion.state = "counted"
            conversion.is_changed = not conversion.is_new
            conversion.event_id = self.event_id
            conversion.person = person
            self._take_facts(conversion)
        self.snapshot.claim_keys(self.keys, conversion)
        conversion.deliver_at = self._due_at()
        return self.mapped.kind, self.mapped.reason, True

    def _is_known_lead(self, person: Person) -> bool:
        wanted = self.policy.stripe_lead_once and self.arrival.source == "stripe" and self.mapped.lead is not None
        return wanted and self.snapshot.has_lead(person)

    def _take_facts(self, conversion: Conversion) -> None:
        conversion.hold = self.mapped.hold
        conversion.kind = self.mapped.kind
        conversion.facts = self._facts()
        conversion.dedupe_key = self.keys[0]
        conversion.occurred_at = self._occurred_at()

    def _facts(self) -> dict[str, Any]:
        facts = facts_of(self.mapped, self.policy.rules)
        if self.mapped.lead is not None and self._waits_for_verification():
            facts["lead"]["mode"] = "deferred"
        return facts

    def _waits_for_verification(self) -> bool:
        """Providers deliver in any order: who was verified before the sign-up came has nothing to wait for."""
        source, deferred = self.arrival.source, self.policy.deferred
        if source not in deferred or self.mapped.verifies:
            return False
        return self.person is None or not was_verified(self.snapshot, self.person, source, deferred[source])

    def _due_at(self) -> int:
        """Now, or after the hold where an event that names the person (or a better one of the purchase) may still come."""
        now, mapped, person = self.snapshot.now, self.mapped, self.person
        assert person is not None
        if mapped.hold == "purchase":
            return now + int(self.policy.purchase_hold_seconds * 1000)
        if mapped.hold == "person" and not (person.click_first or person.explicit_id):
            return now + int(self.policy.person_hold_seconds * 1000)
        return now

    def _known_conversion(self) -> Conversion | None:
        """The conversion that owns one of the keys. Sets that this event shows to be one purchase are joined."""
        source, mapped = self.arrival.source, self.mapped
        prefixes = [dedupe_key(source, mapped, prefix) for prefix in mapped.key_prefixes]
        known = self.snapshot.owners([key for key in self.keys if key not in self.loose], prefixes)
        for conversion in self.snapshot.owners(self.loose, ()):
            if conversion not in known and not conversion.contradicts(self.keys[0]):
                known.append(conversion)
        if not known:
            return None
        known.sort(key=lambda c: (c.state != "counted", c.hold == "purchase", c.state != "pending", c.id))
        first = known[0]
        for other in known[1:]:
            if other.state == "counted":
                self._was_counted_twice(first, other)
            else:
                self.snapshot.absorb(first, other)
        return first

    def _was_counted_twice(self, first: Conversion, other: Conversion) -> None:
        """Possible with opt-in events alone: what was not known to be one is. One that is still held for that is not sent."""
        reason = f"{other.dedupe_key} and {first.dedupe_key} are one purchase and were both counted"
        if other.hold == "purchase" and self.snapshot.unattempted(other):
            self.snapshot.withdraw(first, other)
            reason += f"; {other.dedupe_key} was not sent yet, and is withdrawn"
        self.snapshot.conflicts.append((self.event_id, first.person, first, reason))

    def _keep_open(self, state: str) -> None:
        """Remembers that these ids belong together, for the event that will count them."""
        conversion = self.conversion
        if conversion is None:
            conversion = self.conversion = self._new_conversion(state)
        elif (state == "pending" and conversion.state == "linked") or state == "released":
            conversion.state, conversion.is_changed = state, not conversion.is_new
        if self.person is not None and conversion.person is None:
            conversion.person, conversion.is_changed = self.person, not conversion.is_new
        self.snapshot.claim_keys(self.keys, conversion)

    def _new_conversion(self, state: str) -> Conversion:
        conversion = Conversion(
            id=self.snapshot.next_id(),
            state=state,
            kind=self.mapped.kind,
            source=self.arrival.source,
            dedupe_key=self.keys[0],
            hold=self.mapped.hold,
            event_id=self.event_id,
            person=self.person,
            occurred_at=self._occurred_at(),
            created_at=self.snapshot.now,
            facts=self._facts(),
            is_new=True,
        )
        self.snapshot.new_conversions.append(conversion)
        self.snapshot.conversions[conversion.id] = conversion
        return conversion

    def _occurred_at(self) -> int:
        return int((self.mapped.occurred_at or self.arrival.received_at).timestamp() * 1000)

    def _concerns_somebody(self) -> bool:
        mapped = self.mapped
        return mapped.outcome in ("sale", "lead", "pending") or mapped.teaches or mapped.releases or mapped.verifies

    def _named(self) -> Person | None:
        """Whom an event that teaches nothing (a cancellation, a parked one) speaks of, where they are known: it is shown beside
        theirs, and forgotten with them."""
        found = (self.snapshot.find(identifier) for identifier in self.identifiers)
        return next((persons[0].survivor() for persons in found if persons), None)

    def _resolve_person(self) -> Person | None:
        snapshot, who, identifiers = self.snapshot, self.mapped.who, self.identifiers
        if not identifiers:
            return self.conversion.person.survivor() if self.conversion and self.conversion.person else None
        resolution = resolve(who, identifiers, snapshot.find, snapshot.add_person, snapshot.attempted)
        person = resolution.person
        snapshot.merged += resolution.merged
        for reason in resolution.conflicts:
            snapshot.conflicts.append((self.event_id, person, self.conversion, reason))
        for identifier in resolution.identifiers:
            snapshot.remember(identifier, person)
        return person

    def _mark(self, mark: Mark) -> None:
        """Notes a refund or dispute under every id that it names; its Sale may be known, come later, or never come."""
        if abs(mark.money.minor) <= LARGEST_MINOR:  # else it is no amount that any payment had
            at = int((mark.at or self.arrival.received_at).timestamp() * 1000)
            money = mark.money
            for key in self.keys:
                row = (storable(mark.reference), key, mark.kind, storable(mark.status), money.minor, money.currency, at)
                self.snapshot.marks.append(row)
