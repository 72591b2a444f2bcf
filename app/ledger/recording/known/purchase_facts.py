"""What an event takes from other events of its purchase, and what it stores for them and for the search."""

from collections.abc import Iterable, Mapping, Sequence

from app.ledger.recording.arrival import Conversion
from app.ledger.recording.known.body_ids import ids_in
from app.ledger.recording.known.event_facts import EventFacts, Row, click_rows, keep_who, kept_who, name_rows, rows_of
from app.ledger.recording.known.snapshot import Snapshot
from app.model import Mapped, Outcome, Who
from app.persons import Identifier, Person, completed
from app.text import storable

MOST_OF_A_PARKED, MOST_OF_OTHERS = 40, 10
"""The most IDs and addresses read from a body that did not become a conversion."""


def facts_under(snapshot: Snapshot, keys: Iterable[str]) -> list[EventFacts]:
    """What uncounted events say under these keys, latest first."""
    learned = {facts.event_id: facts for key in keys for facts in snapshot.facts.get(key, ())}
    return [learned[event_id] for event_id in sorted(learned, reverse=True)]


def without_others(
    known: Sequence[EventFacts], keys: Sequence[str], numbers: Sequence[tuple[str, str]]
) -> list[EventFacts]:
    """`known` without events that share only a bare number with these keys: an invoice with the number of another order."""
    bare, series = tuple(f":{number}" for _, number in numbers), (":invoice=", ":order=")
    certain = {key for key in keys if not key.endswith(bare)}
    return [
        facts
        for facts in known
        if not certain.isdisjoint(facts.keys) or not any(name in key for key in facts.keys for name in series)
    ]


def complete_who(who: Who, learned: Sequence[EventFacts], conversion: Conversion | None) -> Who:
    """Completes `who` with other events of the same purchase. If the conversion has a person, that person already knows it."""
    stated = [facts.who for facts in learned]
    if conversion is not None and conversion.person is None and conversion.state != "counted":
        stated.insert(0, kept_who(conversion.facts))
    return completed(who, stated) if stated else who


def store_with_conversion(
    conversion: Conversion, who: Who, learned: Sequence[EventFacts], *, parked: int | None, completes: bool
) -> None:
    """Stores with an uncounted conversion what is known about its person, which parked events it closes when it is counted
    (including `parked`), and whether its events have said everything."""
    facts = conversion.facts
    news = conversion.person is None and keep_who(facts, who)
    if completes and not facts.get("complete"):
        facts["complete"] = news = True
    waiting = [of_event.event_id for of_event in learned if of_event.outcome == "parked"] + (
        [parked] if parked is not None else []
    )
    if set(waiting) - set(facts.get("parked", ())):
        facts["parked"] = list(dict.fromkeys((*facts.get("parked", ()), *waiting)))
        news = True
    conversion.is_changed = conversion.is_changed or (news and not conversion.is_new)


def store_event_facts(
    snapshot: Snapshot,
    event_id: int,
    mapped: Mapped,
    outcome: Outcome,
    keys: Sequence[str],
    identifiers: Sequence[Identifier],
    person: Person | None,
    body: bytes,
) -> None:
    """Stores the facts of an uncounted event: under `keys` if no conversion owns them, and under every identifier it names."""
    key_kind = mapped.kind if outcome == "parked" else "key"
    rows = rows_of(mapped.who, identifiers, keys, key_kind, person)
    mentioned: list[Row] = [(storable(text), "text", None) for text in mapped.mentions]
    if outcome == "parked":
        mentioned += [(value, "text", None) for value in ids_in(body, MOST_OF_A_PARKED)]
    elif not mapped.keys and not mentioned and mapped.who == Who():
        mentioned += [(value, "text", None) for value in ids_in(body, MOST_OF_OTHERS)]
    known = {row[:2]: row for row in (*mentioned, *rows)}
    snapshot.add_facts(event_id, known.values())
    for key in keys:
        snapshot.facts.setdefault(key, []).append(EventFacts(event_id, outcome, key_kind, person, rows))


def index_clicks(snapshot: Snapshot, event_id: int, clicks: Mapping[str, str]) -> None:
    """Makes a person findable by the click IDs they got from an event."""
    snapshot.add_facts(event_id, click_rows(clicks.items()))


def index_ids(snapshot: Snapshot, event_id: int, mapped: Mapped) -> None:
    """Makes a counted event findable by IDs that neither its keys nor its person have: an order number that is not a key, and
    IDs of a connected account, whose keys begin with that account."""
    ids = [*mapped.mentions]
    order_id = mapped.sale.order_id if mapped.sale is not None else None
    if order_id and (order_id not in mapped.keys or mapped.numbers):  # another purchase may own that number as a key
        ids.append(order_id)
    if mapped.account is not None:
        ids += (*mapped.keys, *(alias.rpartition(":")[2] for alias in mapped.who.aliases))
    if ids:
        snapshot.add_facts(event_id, [(storable(text), "text", None) for text in dict.fromkeys(ids)])


def index_name(snapshot: Snapshot, event_id: int, person: Person | None) -> None:
    """Makes a new person findable by name."""
    if person is not None and person.is_new:
        snapshot.add_facts(event_id, name_rows(person.name))
