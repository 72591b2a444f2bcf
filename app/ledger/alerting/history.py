"""Incidents that alerts reported, open and past, with their notifications by channel. Read only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.ledger.alerting.notifications import Reported, What, incidents_by_id
from app.ledger.reading.where import Where
from app.ledger.transaction import Tx

State = Literal["open", "past"]
STATES: tuple[State, ...] = ("open", "past")


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which incidents. state: one of STATES. subject: the name of a destination or source. since, until: when it began (ms)."""

    state: str | None = None
    kind: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Notified:
    """One notification of an incident over one channel. state: sent, waiting (problem: why its last try failed), or dropped
    (problem: why it is not sent any more). Times in ms."""

    channel: str
    what: What
    state: Literal["sent", "waiting", "dropped"]
    sent_at: int | None
    next_try_at: int | None
    tries: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """An incident with its notifications, in the order in which they were made."""

    incident: Reported
    notified: list[Notified] = field(default_factory=list)


def history(tx: Tx, criteria: HistoryFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
    """One page, newest first, with IDs below `before`. An incident that is part of another is listed with that one."""
    where = Where("part_of IS NULL").when(before, "id < ?").when(criteria.kind, "kind = ?")
    where.when(criteria.subject, "subject = ?").when(criteria.since, "began_at >= ?").when(
        criteria.until, "began_at < ?"
    )
    state = {"open": " AND over_at IS NULL", "past": " AND over_at IS NOT NULL", None: ""}[criteria.state]
    statement = f"SELECT id FROM incidents WHERE {where}{state} ORDER BY id DESC LIMIT ?"
    ids = list(tx.run(statement, *where.values, limit).scalars())
    incidents = incidents_by_id(tx, ids)
    records = {identity: Record(incidents[identity]) for identity in ids}
    condition, value = tx.among("incident_id", ids)
    columns = "incident_id, channel, what, sent_at, next_try_at, tries, problem"
    for identity, channel, what, sent_at, next_try_at, tries, problem in tx.run(
        f"SELECT {columns} FROM notifications WHERE {condition} ORDER BY id", value
    ).all():
        state_of: Literal["sent", "waiting", "dropped"] = "sent" if sent_at else "waiting" if next_try_at else "dropped"
        notified = Notified(channel, what, state_of, sent_at, next_try_at, tries, problem)
        records[identity].notified.append(notified)
    return list(records.values())


@dataclass(frozen=True, slots=True)
class ChannelState:
    """The recent state of a channel. waiting: notifications that it has not accepted yet; problem: why."""

    name: str
    last_sent_at: int | None
    waiting: int
    problem: str | None


def channel_states(tx: Tx, names: Sequence[str]) -> list[ChannelState]:
    states = []
    for name in names:
        last = tx.run(
            "SELECT sent_at FROM notifications WHERE channel = ? AND sent_at IS NOT NULL ORDER BY id DESC LIMIT 1", name
        ).scalar()
        waiting, problem = tx.run(
            "SELECT COUNT(*), MAX(problem) FROM notifications WHERE channel = ? AND next_try_at IS NOT NULL", name
        ).one()
        states.append(ChannelState(name, last, int(waiting), problem))
    return states
