"""Leads that are sent twice: first as deferred at sign-up, then again once the address is verified. The two events may arrive
in either order."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from app.ledger.recording.arrival import Conversion, Policy
from app.ledger.recording.known.snapshot import Snapshot
from app.model import Mapped
from app.persons import Person

VERIFIED_EARLY = "the address is verified; the sign-up, where it comes later, is not deferred"
"""The reason of a verification that arrived before its Lead. The Lead is matched with it by this text."""


NEWEST = 100
"""The most Leads of one person that are checked for each of their events."""


def deferred_leads(snapshot: Snapshot, person: Person) -> list[Conversion]:
    """The person's Leads that were sent as deferred."""
    conversions = [c for c in snapshot.new_conversions if c.person is person]
    if not person.is_new:
        statement = f"SELECT id FROM conversions WHERE person_id = ? AND kind = 'lead' ORDER BY id DESC LIMIT {NEWEST}"
        ids = list(snapshot.tx.run(statement, person.id).scalars())
        snapshot.load_conversions(ids)
        conversions += [snapshot.conversions[identity] for identity in ids]
    return [
        c for c in conversions if c.state == "counted" and c.facts["lead"] and c.facts["lead"]["mode"] == "deferred"
    ]


def verified_by(leads: Sequence[Conversion], mapped: Mapped, source: str, policy: Policy) -> list[Conversion]:
    """The deferred Leads whose address an event verifies: it says so, or it is a conversion in a source that counts as proof."""
    converts = mapped.outcome in ("sale", "lead")
    return [
        lead
        for lead in leads
        if (mapped.verifies_email and source == lead.source)
        or (converts and source in policy.deferred.get(lead.source, ()))
    ]


def is_verified_early(leads: Sequence[Conversion], mapped: Mapped, source: str, policy: Policy) -> bool:
    """Whether an event verifies an address before its source has sent a deferred Lead."""
    is_deferred = mapped.verifies_email and source in policy.deferred
    return is_deferred and not any(lead.source == source for lead in leads)


def was_verified(snapshot: Snapshot, person: Person, source: str, verifying: Collection[str]) -> bool:
    """Whether this person's address is already verified.

    Either an event of `source` verified it before there was a deferred Lead (VERIFIED_EARLY), or the person converted in one of
    the `verifying` sources.
    """
    early = [e for e in snapshot.new_events if e.person is person and e.reason == VERIFIED_EARLY]
    if any(e.arrival.source == source for e in early):
        return True
    if any(c.person is person and c.state == "counted" and c.source in verifying for c in snapshot.new_conversions):
        return True
    if person.is_new:
        return False
    condition, value = snapshot.tx.among("source", sorted(verifying))
    row = snapshot.tx.run(
        "SELECT 1 FROM events WHERE person_id = ? AND source = ? AND reason = ?"
        f" UNION ALL SELECT 1 FROM conversions WHERE person_id = ? AND state = 'counted' AND {condition} LIMIT 1",
        *(person.id, source, VERIFIED_EARLY, person.id, value),
    ).first()
    return row is not None


def add_second(snapshot: Snapshot, first: Conversion, event_id: int, occurred_at: int) -> Conversion | None:
    """Creates the second event of a deferred Lead, without click ID and mode, due now. None if it already exists."""
    key = f"{first.dedupe_key}:verified"
    if snapshot.is_taken(key):
        return None
    lead = {**first.facts["lead"], "mode": None, "event_name": "email_verified"}
    second = replace(
        first,
        id=snapshot.next_id(),
        dedupe_key=key,
        event_id=event_id,
        occurred_at=occurred_at,
        created_at=snapshot.now,
        facts={**first.facts, "follows": first.dedupe_key, "lead": lead},
        is_new=True,
        is_changed=False,
        deliver_at=snapshot.now,
    )
    snapshot.new_conversions.append(second)
    snapshot.conversions[second.id] = second
    snapshot.new_keys[key] = second
    return second
