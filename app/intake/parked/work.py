"""The work list of parked events, and filling in by hand: what pages, API and command line call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from app import times
from app.errors import MalformedEvent
from app.intake.parked.fill import FILLABLE, LABELS, filled, lacks_of, read_value
from app.intake.parked.hints import Lack, explain_lacks
from app.intake.remap import LONGEST_BODY, Remapped, remap_event
from app.ledger.engine import Ledger
from app.ledger.parked import acts
from app.ledger.parked.reading import EVERY, Group, ParkedRow, ParkedSelection, groups, parked_page, parked_rows
from app.ledger.recording.arrival import Policy
from app.ledger.transaction import Tx
from app.model import Mapped
from app.money import Money, json_number
from app.sources.base import Source
from app.sources.catalog import SOURCES
from app.sources.parse import text_of
from app.sources.payment import money_of

LONGEST_WHY = 512


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One parked event and what it needs. amount, currency, email, order: where the body (or somebody by hand) says so; amount is
    as the body has it where its currency is missing. ready: it would count as it is mapped now. problem: why the body cannot be
    read now. fillable: fields that may be filled in."""

    id: int
    source: str
    event_id: str
    event_type: str
    reason: str
    received_at: str
    person_id: int | None
    amount: int | float | str | None
    currency: str | None
    email: str | None
    lacks: Sequence[Lack]
    filled_in: Mapping[str, str]
    fillable: Sequence[str]
    ready: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """A page of parked events, newest first, and all of them by source and reason (is_all: none is left out). The page may be short
    without being the last."""

    groups: Sequence[Group]
    is_all: bool
    events: Sequence[ParkedEvent]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling in came to. problems: what is wrong with a value, by field; then nothing was stored."""

    done: bool
    message: str
    outcome: str = "parked"
    delivers: bool = False
    problems: Mapping[str, str] | None = None


def parked_work(
    tx: Tx,
    sources: Mapping[str, Source],
    policy: Policy,
    selection: ParkedSelection = EVERY,
    *,
    before: int | None = None,
    limit: int,
    is_grouped: bool = True,
) -> Work:
    """is_grouped: count all parked events by source and reason, too."""
    parked_groups, is_all = groups(tx) if is_grouped else ([], True)
    rows, next_before = parked_page(tx, selection, before=before, limit=limit)
    events = [describe(row, sources, policy) for row in rows]
    return Work(parked_groups, is_all, events, next_before)


def parked_event(tx: Tx, sources: Mapping[str, Source], policy: Policy, event_id: int) -> ParkedEvent | None:
    """One parked event; None if the event is not parked (any more)."""
    rows = parked_rows(tx, ParkedSelection((event_id,)), limit=1, longest=LONGEST_BODY)
    return describe(rows[0], sources, policy) if rows else None


def describe(row: ParkedRow, sources: Mapping[str, Source], policy: Policy) -> ParkedEvent:
    source = sources.get(row.source)
    mapped, problem = None, ""
    if source is None:
        problem = f"there is no source called {row.source} now"
    elif row.inbound is None:
        problem = "its body is large: open the event to see what it lacks"
    else:
        try:
            mapped = filled(source.map(row.inbound, policy.rules), row.filled_in, policy.rules.phone_region)
        except MalformedEvent as error:
            problem = str(error)
    lacks = lacks_of(mapped, policy) if mapped is not None else ()
    amount, currency = _money_of(mapped)
    is_own = source is not None and row.source not in SOURCES and bool(source.looked_for)
    can_fill = mapped is not None and (mapped.outcome in ("sale", "lead") or mapped.draft is not None)
    return ParkedEvent(
        id=row.id,
        source=row.source,
        event_id=row.event_id,
        event_type=row.event_type,
        reason=row.reason,
        received_at=times.iso(row.received_at) or "",
        person_id=row.person_id,
        amount=amount,
        currency=currency,
        email=mapped.who.email if mapped is not None else row.filled_in.get("email"),
        lacks=explain_lacks(lacks, source, row.inbound, policy.rules, is_own=is_own),
        filled_in=row.filled_in,
        fillable=FILLABLE if can_fill else (),
        ready=mapped is not None and mapped.outcome in ("sale", "lead") and not lacks,
        problem=problem,
    )


def fill_in(
    ledger: Ledger,
    sources: Mapping[str, Source],
    policy: Policy,
    event_id: int,
    values: Mapping[str, str],
    *,
    actor: str,
) -> Filled:
    """Stores values for a parked event and reprocesses it, in one transaction. An empty value removes one that was filled in.

    Safe to repeat: an event that is not parked any more is left as it is.
    """
    unknown = sorted(set(values) - set(FILLABLE))
    if unknown:
        return Filled(False, f"unknown field {unknown[0]}: known are {', '.join(FILLABLE)}", problems={})
    return ledger.transact(
        partial(_fill_in, sources=sources, policy=policy, event_id=event_id, filled=values, actor=actor)
    )


def _fill_in(
    tx: Tx, sources: Mapping[str, Source], policy: Policy, event_id: int, filled: Mapping[str, str], actor: str
) -> Filled:
    tx.lock([acts.LOCK])
    event = parked_event(tx, sources, policy, event_id)
    if event is None:
        return Filled(False, f"event {event_id} is not parked")
    if not event.fillable:
        return Filled(False, "no value can be filled in for this event: fix the mapping, or dismiss it")
    values: dict[str, str | None] = {}
    problems: dict[str, str] = {}
    currency = filled.get("currency", "").strip().upper() or event.currency
    for name, text in filled.items():
        if not text.strip():
            if name in event.filled_in:
                values[name] = None
            continue
        try:
            values[name] = read_value(name, text, currency=currency, phone_region=policy.rules.phone_region)
        except ValueError as error:
            problems[name] = str(error)
    if problems:
        name, why = next(iter(problems.items()))
        return Filled(False, f"{LABELS[name]}: {why}", problems=problems)
    if not values:
        return Filled(False, "fill in at least one value", problems={})
    acts.keep(tx, event_id, values, actor=actor)
    result: Remapped | None = remap_event(tx, sources, policy, event_id)
    if result is None:  # the lock is held, so nobody else can have counted it
        return Filled(False, f"event {event_id} is not parked")
    labels = ", ".join(LABELS[name] for name in FILLABLE if name in values)
    delivers = result.receipt.delivers if result.receipt else False
    return Filled(True, f"{labels}: {_became(result)}", result.outcome, delivers)


def dismiss(ledger: Ledger, ids: Sequence[int], why: str, *, actor: str) -> list[int]:
    """Closes parked events with a reason (1 to LONGEST_WHY characters). Returns those that were parked."""
    return ledger.transact(lambda tx: acts.dismiss(tx, ids, why, actor=actor))


def reopen(ledger: Ledger, ids: Sequence[int], *, actor: str) -> list[int]:
    """Takes dismissals back. Returns the events that are parked again."""
    return ledger.transact(lambda tx: acts.reopen(tx, ids, actor=actor))


def _became(result: Remapped) -> str:
    if result.outcome in ("parked", "unreadable"):
        return f"stored; the event stays parked: {result.reason}"
    return f"stored; the event is now {result.outcome}: {result.reason}"


def _money_of(mapped: Mapped | None) -> tuple[int | float | str | None, str | None]:
    """Amount and currency, as far as they are known."""
    if mapped is None:
        return None, None
    if mapped.sale is not None:
        return json_number(mapped.sale.money.major), mapped.sale.money.currency
    draft = mapped.draft
    if draft is None or draft.sale is None:
        return None, None
    if draft.currency is not None:
        money = money_of(draft.amount, draft.currency, draft.unit)  # type: ignore[arg-type]
        if isinstance(money, Money):
            return json_number(money.major), draft.currency
    return text_of(draft.amount), draft.currency
