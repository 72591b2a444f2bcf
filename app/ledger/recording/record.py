"""Records a group of events in one transaction. Each is new, a repeat, or a further event of a conversion that is already
counted.

Unique columns (events.event_key, dedupe_keys.key) stop duplicates; looking before inserting only makes the usual case cheap.
Recording the same group again changes only the counts of repeats.
"""

from collections.abc import Sequence
from typing import Any

from app.ledger.recording import unnamed
from app.ledger.recording.arrival import Arrival, Conflict, Conversion, NewEvent, Policy, Receipt, SeenEvent
from app.ledger.recording.deferred_leads import (
    VERIFIED_EARLY,
    add_second,
    deferred_leads,
    is_verified_early,
    verified_by,
    was_verified,
)
from app.ledger.recording.flush import flush
from app.ledger.recording.holds import due_at, free, hold_of
from app.ledger.recording.identity import Identity
from app.ledger.recording.joining import COUNTED_TWICE, join, known_conversions, of_one_purchase, of_one_sale
from app.ledger.recording.keys import Keys
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.payload import facts_of
from app.ledger.recording.refunds.marked import add_mark
from app.ledger.recording.refunds.settle import of_sale, settle_refunds
from app.ledger.transaction import Tx
from app.model import Outcome
from app.persons import NOBODY, Person


def record(tx: Tx, arrivals: Sequence[Arrival], policy: Policy, *, commits: bool = False) -> list[Receipt]:
    """Records `arrivals` in order within the caller's write transaction, and returns receipts in the same order.

    commits: the caller has nothing else to do, so this may end the transaction.
    """
    snapshot = Snapshot(tx, policy.routes)
    recordings = [_Recording(snapshot, arrival, policy) for arrival in arrivals]
    snapshot.load(
        arrivals,
        [key for recording in recordings for key in recording.names.known_by],
        [key for recording in recordings for key in recording.names.facts],
        [identifier for recording in recordings for identifier in recording.identity.identifiers],
        [beginning for recording in recordings for beginning in recording.names.beginnings],
    )
    receipts = [recording.run() for recording in recordings]
    flush(snapshot, commits=commits and not snapshot.adjusted)
    settle_refunds(snapshot)
    return receipts


class _Recording:
    """Records one event against the snapshot."""

    def __init__(self, snapshot: Snapshot, arrival: Arrival, policy: Policy) -> None:
        self.snapshot = snapshot
        self.arrival = arrival
        self.mapped = arrival.mapped
        self.policy = policy
        self.names = Keys(arrival, is_sqlite=snapshot.tx.is_sqlite)
        self.keys, self.loose = self.names.own, self.names.loose
        self.identity = Identity(snapshot, arrival, self.names.facts, policy.rules.phone_region)
        self.event_id = 0
        self.occurred_at = int((self.mapped.occurred_at or arrival.received_at).timestamp() * 1000)
        self.person: Person | None = None
        self.conversion: Conversion | None = None
        self.known: list[Conversion] = []
        """`conversion`, and the ones joined into it."""
        self.foreign: Sequence[str] = ()
        """Keys that only look like this event's: see Conversion.is_another."""

    def run(self) -> Receipt:
        event_id = self.mapped.event_id
        seen = self.snapshot.events.get(self.arrival.event_key)
        if seen is not None and self.arrival.recorded_as is None:
            seen.repeats += 1
            return Receipt(
                seen.id,
                event_id,
                "duplicate",
                f"this event was received before, and then was: {seen.outcome}",
                is_repeat=True,
            )
        self.event_id = self.arrival.recorded_as or self.snapshot.next_id()
        notes = self._find_conversion()
        self.identity.learn_from_purchase(self.conversion)
        if self.identity.concerns_somebody(self.known):
            self.person = self.identity.resolve(self.event_id, self.known, self.conversion, self.occurred_at)
        leads = deferred_leads(self.snapshot, self.person) if self.policy.deferred and self.person is not None else []
        verified = self._send_second_events(leads) if leads else []
        outcome, reason, delivers = self._decide()
        if verified and outcome == "ignored":
            outcome, reason = "lead", f"the address is verified: the second event of {verified[0].facts['follows']}"
        elif outcome == "ignored" and self.person is not None:
            is_early = is_verified_early(leads, self.mapped, self.arrival.source, self.policy)
            reason = VERIFIED_EARLY if is_early else reason
        if self.conversion is not None and self.names.cut_off:
            self.snapshot.claim_keys(self.names.cut_off, self.conversion)
        delivers = delivers or bool(verified)
        if notes:
            reason = "; ".join((reason, *notes))
        if self.conversion is not None and not self.snapshot.marked.isdisjoint(self.keys):
            self.snapshot.adjusted.append(self.conversion)
        self.identity.store(self.event_id, outcome, self.person, self.conversion)
        self.snapshot.new_events.append(
            NewEvent(
                self.event_id, self.arrival, outcome, reason, self.conversion, self.person or self.identity.named()
            )
        )
        if seen is None:
            self.snapshot.events[self.arrival.event_key] = SeenEvent(self.event_id, outcome, None, is_new=True)
        return Receipt(self.event_id, event_id, outcome, reason, delivers)

    def _send_second_events(self, leads: Sequence[Conversion]) -> list[Conversion]:
        """Creates the second event, without click ID and mode, of each deferred Lead of a person who is now verified. Once per
        Lead."""
        if self.person is None or self.person.customer_id is None:
            return []
        verified = verified_by(leads, self.mapped, self.arrival.source, self.policy)
        seconds = (add_second(self.snapshot, first, self.event_id, self.occurred_at) for first in verified)
        created = [second for second in seconds if second is not None]
        if created and self.conversion is None and not self.keys:
            self.conversion = created[0]
        return created

    def _decide(self) -> tuple[Outcome, str, bool]:
        mapped, conversion = self.mapped, self.conversion
        if mapped.completes_identity and self.person is not None:
            self.snapshot.released.append(self.person)
        if mapped.mark is not None:
            add_mark(self.snapshot, self.event_id, self.arrival, self.names, self.foreign)
        if mapped.mark is not None and mapped.sale is None:
            sale = conversion if conversion is not None and conversion.state == "counted" else None
            return mapped.outcome, mapped.reason + of_sale(sale, mapped.mark.money.currency), sale is not None
        if conversion is not None and conversion.state == "counted":
            is_linked = any(key not in self.loose for key in self.snapshot.claim_keys(self.keys, conversion))
            freed = free(self.snapshot, conversion, is_linked=is_linked, completes=mapped.completes_details)
            freed = freed or mapped.completes_identity
            self._settle_parked(conversion)
            if mapped.outcome in ("sale", "lead"):
                return self._already_counted(conversion, freed)
            if mapped.outcome == "pending" or (mapped.links_keys and not mapped.cancels):
                noun = "purchase" if mapped.kind == "sale" else "submission"
                return "duplicate", f"this {noun} is counted already, as {conversion.dedupe_key}", freed
            return mapped.outcome, mapped.reason, freed
        if mapped.outcome in ("sale", "lead"):
            return (
                self._count() if self.keys else ("parked", "it carries no id by which it could be counted once", False)
            )
        if self._count_unnamed():
            return mapped.outcome, mapped.reason, True
        if mapped.outcome == "pending" and self.keys:
            self._keep_open("pending")
        elif mapped.cancels:
            if self.keys and (mapped.links_keys or (conversion is not None and conversion.state == "pending")):
                self._keep_open("released")
        elif (mapped.links_keys and len(self.keys) > 1) or (mapped.completes_details and self.keys):
            self._keep_open("linked")
        return mapped.outcome, mapped.reason, mapped.completes_identity

    def _settle_parked(self, conversion: Conversion) -> None:
        """Closes parked events of this purchase: nothing is left to count."""
        for facts in self.identity.other_facts() if self.snapshot.facts else ():
            if facts.outcome == "parked" and facts.key_kind == conversion.kind and facts.event_id != self.event_id:
                facts.outcome = "duplicate"
                self.snapshot.settle(facts.event_id, conversion)

    def _already_counted(self, conversion: Conversion, freed: bool) -> tuple[Outcome, str, bool]:
        """Handles a further event of a counted purchase. If the conversion is a held opt-in event, a better event replaces its
        facts."""
        if self.arrival.recorded_as == conversion.event_id:  # it was counted while somebody asked to reprocess it
            return self.mapped.kind, self.mapped.reason, freed
        better = conversion.hold == "purchase" and self.mapped.hold != "purchase"
        if better and self.snapshot.unattempted(conversion):
            self._take_facts(conversion)
            conversion.is_changed = True
            self.snapshot.claimed.append(conversion)
            if conversion.is_new:
                conversion.deliver_at = due_at(conversion, self.policy, self.snapshot.now)
            return "duplicate", f"this purchase was waiting for this event, and goes as {conversion.dedupe_key}", True
        return "duplicate", f"this {conversion.kind} is counted already, as {conversion.dedupe_key}", freed

    def _count(self) -> tuple[Outcome, str, bool]:
        """Counts the first event of this purchase or submission."""
        person = self.person
        if person is not None and person.customer_id is None:
            person.customer_id = person.best_id()
            person.is_changed = True
        if person is None or person.customer_id is None:
            self._keep_unnamed()
            return "parked", NOBODY, False
        if self.policy.require_click_id and self.mapped.lead is not None and not person.click_first:
            return "parked", "it carries no click id, and REQUIRE_CLICK_ID is set", False
        if self._is_known_lead(person):
            return "ignored", "this person has a Lead already, and STRIPE_LEAD_ONCE is set", False
        conversion = self.conversion
        if conversion is None:
            conversion = self.conversion = self._new_conversion("counted")
        else:
            conversion.is_changed = not conversion.is_new
            conversion.event_id = self.event_id
            conversion.person = person
            for event_id in conversion.facts.get("parked", ()):
                if event_id != self.event_id:
                    self.snapshot.settle(event_id, conversion)
            self._take_facts(conversion)
            conversion.state = "counted"
        self.snapshot.claim_keys(self.keys, conversion)
        self._settle_parked(conversion)
        conversion.deliver_at = due_at(conversion, self.policy, self.snapshot.now)
        return self.mapped.kind, self.mapped.reason, True

    def _keep_unnamed(self) -> None:
        """Keeps a conversion whose person is unknown until another event of the same purchase identifies them."""
        self._keep_open("linked")
        conversion = self.conversion
        if conversion is not None and conversion.kind == self.mapped.kind:
            mapped = self.mapped
            unnamed.keep(
                conversion,
                self.event_id,
                kind=mapped.kind,
                hold=hold_of(mapped.hold, conversion),
                dedupe_key=self.keys[0],
                occurred_at=self.occurred_at,
                facts=self._facts(),
            )

    def _count_unnamed(self) -> bool:
        """Counts the conversion of a parked event, now that this event identifies its person."""
        conversion, person = self.conversion, self.person
        if conversion is None or person is None or self.mapped.cancels or not unnamed.is_unnamed(conversion):
            return False
        if unnamed.is_dismissed(self.snapshot, conversion):
            return False
        if person.customer_id is None:
            person.customer_id = person.best_id()
            person.is_changed = True
        is_lead = unnamed.kind_of(conversion) == "lead"
        lacks_click = self.policy.require_click_id and is_lead and not person.click_first
        once = is_lead and self.arrival.source in self.policy.lead_once
        if person.customer_id is None or lacks_click or (once and self.snapshot.has_lead(person)):
            return False
        conversion.person = person
        unnamed.take(self.snapshot, conversion)
        self.snapshot.claim_keys(self.keys, conversion)
        conversion.deliver_at = due_at(conversion, self.policy, self.snapshot.now)
        return True

    def _is_known_lead(self, person: Person) -> bool:
        may_be_known = self.arrival.source in self.policy.lead_once and self.mapped.lead is not None
        return may_be_known and self.snapshot.has_lead(person)

    def _take_facts(self, conversion: Conversion) -> None:
        conversion.hold = hold_of(self.mapped.hold, conversion)
        conversion.kind = self.mapped.kind
        conversion.facts = self._facts()
        conversion.dedupe_key = self.keys[0]
        conversion.occurred_at = self.occurred_at

    def _facts(self) -> dict[str, Any]:
        facts = facts_of(self.mapped, self.policy.rules, self.identity.who)
        if self.mapped.lead is not None and self._waits_for_verification():
            facts["lead"]["mode"] = "deferred"
        return facts

    def _waits_for_verification(self) -> bool:
        """Whether a Lead must wait for verification. Events arrive in any order: if the person is already verified, it need not
        wait."""
        source, deferred = self.arrival.source, self.policy.deferred
        if source not in deferred or self.mapped.verifies_email:
            return False
        return self.person is None or not was_verified(self.snapshot, self.person, source, deferred[source])

    def _find_conversion(self) -> list[str]:
        """Finds the conversion that owns one of the keys, and joins conversions that this event shows to be one purchase.
        Returns notes about the join."""
        names = self.names
        owners = known_conversions(self.snapshot, names.known_by, names.loose, names.prefixes)
        if not owners:
            return []
        known, self.foreign = of_one_purchase(self.snapshot, owners, self.mapped, names)
        if self.foreign and any(owner.dedupe_key == self.keys[0] for owner in owners if owner not in known):
            self.keys = self.keys[1:]  # another one is counted under the bare number
        if self.mapped.mark is not None and self.mapped.sale is None and len(known) > 1:
            known, others = of_one_sale(self.snapshot, known, names.own)
            self.foreign = [*self.foreign, *others]
        joined = join(self.snapshot, known, names.own)
        if joined is None:
            return []
        self.conversion, self.known = joined.first, joined.known
        for reason in joined.sent_twice:
            conflict = Conflict(self.event_id, joined.first.person, joined.first, reason, COUNTED_TWICE)
            self.snapshot.conflicts.append(conflict)
        if joined.withdrawn:
            free(self.snapshot, joined.first, is_linked=True, completes=False)
        notes = [f"{withdrawn.dedupe_key} was not sent yet, and is withdrawn" for withdrawn in joined.withdrawn]
        return [*notes, *joined.sent_twice]

    def _keep_open(self, state: str) -> None:
        """Records that these IDs belong together, for the event that will count them."""
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
            occurred_at=self.occurred_at,
            created_at=self.snapshot.now,
            facts=self._facts(),
            is_new=True,
        )
        self.snapshot.new_conversions.append(conversion)
        self.snapshot.conversions[conversion.id] = conversion
        return conversion
