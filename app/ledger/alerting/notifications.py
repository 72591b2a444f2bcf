"""Notifications of incidents, for each channel on its own: a broken channel does not delay the others, and an accepted
notification is not sent again.

A notification waits in the ledger until its channel accepts it. Any process may send it: it claims all that wait for a channel, and
a claim ends by time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.config.bridge_toml import AlertKind
from app.ledger.transaction import Tx

What = Literal["alert", "over"]
CLAIM_MS = 60_000
RETRY_SECONDS = (15, 30, 60, 120, 300, 600, 900)
KEPT_MS = 7 * 86_400_000
"""What could not be sent for so long is not sent any more."""
ENDED = "not sent: the incident was over first"


@dataclass(frozen=True, slots=True)
class Reported:
    """A row of incidents. over_at: None while it lasts. parts: further incidents that its alert covers."""

    id: int
    topic: str
    kind: AlertKind
    subject: str
    began_at: int
    reported_at: int
    over_at: int | None
    detail: dict[str, Any]
    parts: list["Reported"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Notification:
    """One to send. tries: those that failed."""

    id: int
    what: What
    tries: int
    incident: Reported


REPORTED = "id, topic, kind, subject, began_at, reported_at, over_at, detail"


def reported(row: Any) -> Reported:
    """A row of REPORTED."""
    identity, topic, kind, subject, began_at, reported_at, over_at, detail = row
    return Reported(identity, topic, kind, subject, began_at, reported_at, over_at, json.loads(detail))


def announce(tx: Tx, incident_id: int, channels: Sequence[str], now: int) -> None:
    """Queues the alert of an incident for each of these channels."""
    _add(tx, [(incident_id, "alert", channel, now, now) for channel in channels])


def call_off(tx: Tx, incident_id: int, now: int) -> None:
    """Queues the all-clear for each channel of the alert. An alert that is not sent yet then says that the incident is over; a
    pager is not called for it."""
    rows = tx.run(
        "SELECT channel FROM notifications WHERE incident_id = ? AND what = 'alert'"
        " AND (sent_at IS NOT NULL OR claimed_until > ?)",
        *(incident_id, now),
    ).all()
    _add(tx, [(incident_id, "over", channel, now, now) for (channel,) in rows])


def adopt(tx: Tx, incident_id: int, channel: str, told_at: int) -> None:
    """Records that an earlier version sent the alert over this channel."""
    statement = (
        "INSERT INTO notifications (incident_id, what, channel, created_at, sent_at) VALUES (?, 'alert', ?, ?, ?)"
    )
    tx.run(statement, incident_id, channel, told_at, told_at)


def _add(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    statement = "INSERT INTO notifications (incident_id, what, channel, created_at, next_try_at) VALUES (?, ?, ?, ?, ?)"
    tx.run_many(statement, rows)


def has_unsent(tx: Tx, channel: str, now: int) -> bool:
    """Whether claim_unsent would find something."""
    free = "(claim IS NULL OR claimed_until <= ?)"
    statement = f"SELECT 1 FROM notifications WHERE channel = ? AND next_try_at <= ? AND {free} LIMIT 1"
    return tx.run(statement, channel, now, now).first() is not None


def claim_unsent(tx: Tx, channel: str, token: str, now: int) -> Sequence[Notification]:
    """Claims everything that waits for a channel, for the first process that asks, once its first part is due. Oldest first."""
    tx.run(
        "UPDATE notifications SET next_try_at = NULL WHERE channel = ? AND next_try_at IS NOT NULL AND created_at < ?",
        *(channel, now - KEPT_MS),
    )
    rows = tx.run(
        "UPDATE notifications SET claim = ?, claimed_until = ? WHERE channel = ? AND next_try_at IS NOT NULL"
        " AND (claim IS NULL OR claimed_until <= ?)"
        " AND (SELECT MIN(n.next_try_at) FROM notifications n WHERE n.channel = ? AND n.next_try_at IS NOT NULL) <= ?"
        " RETURNING id, what, tries, incident_id",
        *(token, now + CLAIM_MS, channel, now, channel, now),
    ).all()
    incidents = incidents_by_id(tx, [row[3] for row in rows])
    claimed = [Notification(row[0], row[1], row[2], incidents[row[3]]) for row in rows if row[3] in incidents]
    return sorted(claimed, key=lambda notification: notification.id)


def incidents_by_id(tx: Tx, ids: Sequence[int]) -> dict[int, Reported]:
    """These incidents with their parts."""
    condition, value = tx.among("id", ids)
    incidents = {
        row[0]: reported(row) for row in tx.run(f"SELECT {REPORTED} FROM incidents WHERE {condition}", value).all()
    }
    condition, value = tx.among("part_of", ids)
    statement = f"SELECT part_of, {REPORTED} FROM incidents WHERE {condition} ORDER BY id"
    for of, *row in tx.run(statement, value).all():
        if of in incidents:
            incidents[of].parts.append(reported(row))
    return incidents


def mark_sent(tx: Tx, token: str, texts: Sequence[tuple[int, str]], now: int) -> None:
    """texts: the ids of what was accepted, each with its text."""
    statement = (
        "UPDATE notifications SET sent_at = ?, text = ?, problem = NULL, next_try_at = NULL, claim = NULL, claimed_until = NULL"
        " WHERE id = ? AND claim = ?"
    )
    tx.run_many(statement, [(now, text, identity, token) for identity, text in texts])


def mark_failed(tx: Tx, token: str, tries: int, problem: str, now: int) -> None:
    """Records that the `tries`-th try of what is still claimed failed. The next one comes later each time."""
    again = now + RETRY_SECONDS[min(tries, len(RETRY_SECONDS)) - 1] * 1000
    tx.run(
        "UPDATE notifications SET tries = ?, next_try_at = ?, problem = ?, claim = NULL, claimed_until = NULL WHERE claim = ?",
        *(tries, again, problem, token),
    )


def drop(tx: Tx, token: str, ids: Sequence[int]) -> None:
    """Drops notifications whose incident is over."""
    changes = "next_try_at = NULL, problem = ?, claim = NULL, claimed_until = NULL"
    statement = f"UPDATE notifications SET {changes} WHERE id = ? AND claim = ?"
    tx.run_many(statement, [(ENDED, identity, token) for identity in ids])


@dataclass(frozen=True, slots=True)
class Unsent:
    """Notifications that one channel has not accepted yet. since: ms."""

    channel: str
    problem: str
    count: int
    since: int


def unsent(tx: Tx, channels: Sequence[str]) -> Sequence[Unsent]:
    """The channels of `channels` whose last try failed."""
    condition, value = tx.among("channel", channels)
    rows = tx.run(
        "SELECT channel, MIN(problem), COUNT(*), MIN(created_at) FROM notifications"
        f" WHERE next_try_at IS NOT NULL AND problem IS NOT NULL AND {condition} GROUP BY channel ORDER BY channel",
        value,
    ).all()
    return [Unsent(channel, problem, int(count), since) for channel, problem, count, since in rows]


def count_unsent(tx: Tx) -> int:
    """How many of all channels were tried without success."""
    statement = "SELECT COUNT(*) FROM notifications WHERE next_try_at IS NOT NULL AND problem IS NOT NULL"
    return int(tx.run(statement).scalar_one())
