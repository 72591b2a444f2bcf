"""Erases a person: blanks identifiers, payloads, bodies and answers, and discards open deliveries.

The dedupe keys stay: they are IDs of purchases and submissions, and without them a repeated webhook would be sent again.
A later event of the same human being starts a new person. Every event that names them is blanked, whatever its outcome:
events of their purchases, events found by the facts read from them, and events that only a search of all bodies finds.
Requests in the quarantine that name them are dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.ledger.actions.replay import BLANK_PAYLOAD
from app.ledger.actions.traces import (
    Traces,
    events_naming,
    forms_of,
    held_naming,
    is_telling,
    literal,
    recent_events_naming,
    redact_texts,
)
from app.ledger.audit import note
from app.ledger.engine import Ledger, look
from app.ledger.inbound.quarantine import Selection, drop
from app.ledger.tables import KEY_KINDS, PERSON_FACTS, TABLES_OF_EVENTS
from app.ledger.tables.base import SCOPED
from app.ledger.transaction import Tx

ALIAS = "kind = 'alias'"
BLANK_BODY = b'{"forgotten":true}'
BLANK_FACTS = '{"click_id":null,"email":null,"name":null,"phone":null,"sale":null,"lead":null}'
LOG_KEPT = (
    "The write-ahead log of the ledger still holds the erased data, because another process is reading it."
    " Run `bridge forget PERSON` again, or restart the bridge."
)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was erased, and how many deliveries were discarded unsent. person_id: None where only events named them.

    is_overwritten: the erased data is gone from the disk (SQLite). False: another process was reading, and the write-ahead log
    keeps old pages until they are overwritten.
    """

    person_id: int | None
    events: int
    deliveries: int
    discarded: int
    is_overwritten: bool = True
    held: int = 0
    """Requests dropped from the quarantine."""


class BeingSent(Exception):
    """A delivery of this person is being sent. Retry in a minute."""


def persons_called(tx: Tx, name: str, sources: Iterable[str] | None = None) -> Sequence[int]:
    """Ids of the persons with this e-mail, phone, customer id, provider's id (cus_…), or ledger id ("person:12").

    A provider's id is found with and without its account ("acct_1:cus_1"): a request for erasure names no account.
    sources: those whose ids are found, by index. None: all, and every identifier is read.
    """
    if name.startswith("person:") and name[7:].isdigit():
        person_ids = [int(name[7:])]
        condition, value = tx.among("id", person_ids)
        return list(tx.run(f"SELECT id FROM persons WHERE {condition}", value).scalars())
    values = {name, *forms_of(name), f"stripe:{name}", *(f"{source}:{name}" for source in sources or ())}
    condition, value = tx.among_sealed("value", sorted(values))
    matching = set(tx.run(f"SELECT DISTINCT person_id FROM identifiers WHERE {condition}", value).scalars())
    if "@" not in name:
        scoped = "SELECT value, person_id FROM identifiers WHERE "
        like = f"{scoped}{SCOPED if sources is not None else ALIAS} AND value LIKE ? ESCAPE '!'"
        rows = (tx.run(scoped + ALIAS) if tx.is_sealed else tx.run(like, f"%:{literal(name)}")).all()
        matching |= {person_id for alias, person_id in rows if alias.endswith(f":{name}")}
    return sorted(matching)


def forget_person(ledger: Ledger, person_id: int, *, actor: str) -> Forgotten:
    """Erases one person and everything that names them. Idempotent. Raises BeingSent while a delivery of theirs is claimed."""
    return _forget(ledger, person_id, (), actor)


def forget_name(ledger: Ledger, name: str, *, actor: str) -> Forgotten:
    """Erases every mention of someone without a person in the ledger: someone named only by parked or ignored events."""
    return _forget(ledger, None, sorted(_spelled(name)), actor)


def is_named(ledger: Ledger, name: str) -> bool:
    """Whether an event mentions `name`."""
    with look(ledger) as tx:
        if _events_tied_to(tx, None, sorted(_spelled(name))) or held_naming(tx, Traces(_spelled(name))):
            return True
    return next(events_naming(ledger, Traces(_spelled(name))), None) is not None


def events_about(ledger: Ledger, person_id: int | None, names: Sequence[str]) -> list[int]:
    """Ids of all events that name a person, or somebody who is called `names`: by their purchases, by what was read from them, and
    by a search of all bodies."""
    with look(ledger) as tx:
        known = [*_names_of(tx, person_id), *(spelled for name in names for spelled in sorted(_spelled(name)))]
        tied = _events_tied_to(tx, person_id, known)
    return sorted({*tied, *events_naming(ledger, Traces(known))})


def held_about(ledger: Ledger, person_id: int | None, names: Sequence[str]) -> list[int]:
    """Ids of the requests in the quarantine that name a person, or somebody who is called `names`."""
    with look(ledger) as tx:
        known = [*_names_of(tx, person_id), *(spelled for name in names for spelled in sorted(_spelled(name)))]
        return held_naming(tx, Traces(known))


def _spelled(name: str) -> set[str]:
    """How bodies and the index may hold `name`; one of a connected account is in a body without it."""
    bare = name.rpartition(":")[2] if name.startswith("acct_") else name
    return {*forms_of(name), *forms_of(bare), f"stripe:{name}"}


def _forget(ledger: Ledger, person_id: int | None, names: Sequence[str], actor: str) -> Forgotten:
    with look(ledger) as tx:
        traces = Traces([*names, *_names_of(tx, person_id)])
        last = int(tx.run("SELECT COALESCE(MAX(id), 0) FROM events").scalar_one())
    named = [event_id for event_id in events_naming(ledger, traces) if event_id <= last]

    def work(tx: Tx) -> Forgotten:
        newer = recent_events_naming(tx, traces, last)
        tied = _events_tied_to(tx, person_id, traces.names if person_id is None else _names_of(tx, person_id))
        return _erase(tx, person_id, traces, sorted({*named, *newer, *tied}), actor)

    done = ledger.transact(work)
    return replace(done, is_overwritten=ledger.overwrite_log())


def _names_of(tx: Tx, person_id: int | None) -> list[str]:
    """All identifiers of this person, without the source's name before a provider's IDs."""
    if person_id is None:
        return []
    rows = tx.run("SELECT kind, value FROM identifiers WHERE person_id = ?", person_id).all()
    names = [value.rsplit(":", 1)[-1] if kind == "alias" else value for kind, value in rows]
    columns = "email, phone, customer_id, explicit_id, provider_id"
    row = tx.run(f"SELECT {columns} FROM persons WHERE id = ?", person_id).first()
    return list(dict.fromkeys([*names, *(value for value in row or () if value)]))


def _events_tied_to(tx: Tx, person_id: int | None, names: Sequence[str]) -> list[int]:
    """Events of the person's purchases, including purchases recorded later, and events from which one of `names` was read."""
    values = {form for name in names for form in forms_of(name)}
    event_ids: set[int] = set()
    if person_id is not None:
        rows = tx.run("SELECT value FROM identifiers WHERE person_id = ? AND kind = 'alias'", person_id)
        values |= set(rows.scalars())
        keys = "SELECT k.key FROM dedupe_keys k JOIN conversions c ON c.id = k.conversion_id WHERE c.person_id = ?"
        event_ids |= _events_that_say(
            tx, {key.partition(":")[2] for key in tx.run(keys, person_id).scalars()}, KEY_KINDS
        )
        own = "SELECT id FROM events WHERE person_id = ? UNION SELECT id FROM events WHERE conversion_id IN"
        event_ids |= set(
            tx.run(f"{own} (SELECT id FROM conversions WHERE person_id = ?)", person_id, person_id).scalars()
        )
    event_ids |= _events_that_say(tx, values, ("email", "phone", "id", "reference", "alias"))
    event_ids |= _events_that_say(tx, {value for value in values if is_telling(value)}, ("text",))
    return sorted(event_ids)


def _events_that_say(tx: Tx, values: set[str], kinds: Sequence[str]) -> set[int]:
    condition, value = tx.among_sealed("value", sorted(values))
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    return set(tx.run(f"SELECT event_id FROM event_facts WHERE {condition} AND kind IN ({listed})", value).scalars())


def _erase(tx: Tx, person_id: int | None, traces: Traces, events: Sequence[int], actor: str) -> Forgotten:
    rows = tx.run(
        f"SELECT id, claim, due_at FROM deliveries WHERE person_id = ? ORDER BY id{tx.for_update}", person_id
    ).all()
    if any(claim is not None for _, claim, _ in rows):
        raise BeingSent
    blanked = _blank_events(tx, person_id, traces, events)
    held = held_naming(tx, traces)
    drop(tx, Selection(ids=tuple(held)))
    redact_texts(tx, traces)
    if person_id is not None:
        _blank_person(tx, person_id)
        note(tx, actor, "forget", f"person {person_id}")
    elif blanked or held:
        held_text = f", and {len(held)} in the quarantine" if held else ""
        note(tx, actor, "forget", "events", f"{blanked} that named somebody who is not a person here{held_text}")
    discarded = sum(1 for _, _, due_at in rows if due_at is not None)
    return Forgotten(person_id, blanked, len(rows), discarded, held=len(held))


def _blank_events(tx: Tx, person_id: int | None, traces: Traces, ids: Sequence[int]) -> int:
    """Blanks these events; in events about somebody else, only the names. Returns the number of blanked events."""
    condition, value = tx.among("e.id", ids)
    rows = tx.run(
        "SELECT e.id, COALESCE(c.person_id, e.person_id), e.reason, e.body, e.conversion_id FROM events e"
        f" LEFT JOIN conversions c ON c.id = e.conversion_id WHERE {condition}",
        value,
    ).all()
    own = [row for row in rows if row[1] is None or row[1] == person_id]
    others = [row for row in rows if row not in own]
    tx.run_many(
        "UPDATE events SET body = ?, headers = '{}', reason = ? WHERE id = ?",
        [(BLANK_BODY, traces.redacted(reason), event_id) for event_id, _, reason, _, _ in own],
    )
    for table in TABLES_OF_EVENTS:
        tx.run_many(f"DELETE FROM {table} WHERE event_id = ?", [(row[0],) for row in own])
    tx.run_many(
        "UPDATE conversions SET facts = ? WHERE id = ? AND person_id IS NULL",
        [(BLANK_FACTS, row[4]) for row in own if row[4] is not None],
    )
    _redact_others(tx, traces, others)
    return len(own)


def _redact_others(tx: Tx, traces: Traces, rows: Sequence[Any]) -> None:
    """Redacts this person in events of others, except an address that the other person shares."""
    for event_id, owner, reason, body, _ in rows:
        shared = {form for name in _names_of(tx, owner) for form in forms_of(name)}
        mine = Traces([name for name in traces.names if not forms_of(name) & shared])
        text = bytes(body).decode("utf-8", "surrogateescape")
        if not mine.names_them(text):
            continue
        left = mine.redacted(text)
        kept = BLANK_BODY if mine.names_them(left) else left.encode("utf-8", "surrogateescape")
        tx.run("UPDATE events SET body = ?, reason = ? WHERE id = ?", kept, mine.redacted(reason), event_id)
        condition, value = tx.among_sealed("value", sorted({form for name in mine.names for form in forms_of(name)}))
        tx.run(f"DELETE FROM event_facts WHERE event_id = ? AND {condition}", event_id, value)


def _blank_person(tx: Tx, person_id: int) -> None:
    tx.run(
        "UPDATE deliveries SET status = 'discarded', due_at = NULL, held = 0 WHERE person_id = ? AND due_at IS NOT NULL",
        person_id,
    )
    tx.run(
        "UPDATE deliveries SET payload = ?, omitted = NULL, note = NULL, last_error = NULL WHERE person_id = ?",
        BLANK_PAYLOAD,
        person_id,
    )
    tx.run(
        "UPDATE attempts SET error = NULL, answer_headers = NULL, answer_body = NULL"
        " WHERE delivery_id IN (SELECT id FROM deliveries WHERE person_id = ?)",
        person_id,
    )
    sent = "SELECT dedupe_key FROM deliveries WHERE person_id = ?"
    tx.run(f"UPDATE sandbox_requests SET body = '{{}}' WHERE idempotency_key IN ({sent})", person_id)
    tx.run("UPDATE conversions SET facts = ? WHERE person_id = ?", BLANK_FACTS, person_id)
    tx.run("DELETE FROM identifiers WHERE person_id = ?", person_id)
    tx.run("DELETE FROM conflicts WHERE person_id = ?", person_id)
    nothing = ", ".join(f"{name} = NULL" for name in PERSON_FACTS)
    tx.run(f"UPDATE persons SET {nothing} WHERE id = ?", person_id)
