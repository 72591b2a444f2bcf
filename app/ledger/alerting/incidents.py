"""The state of alerts in the ledger: which condition was reported, and by which process, so that each is reported once.

A condition is reported when it has stood for a while, and again when it is over. What goes wrong with the same destination (or
source) while a condition of it lasts is part of the same incident, which is one alert and one all-clear.

Deliveries that died in an outage stay dead when it is over. The all-clear tells of them, and nothing more is said (MUTED) until
they were replayed, or others die.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.config.bridge_toml import AlertKind, AlertTable
from app.ledger.alerting.conditions import Condition
from app.ledger.transaction import Tx

ROUND = "alerts_round"
JOIN_MS = 60_000
"""Condition that begins so soon after another of the same destination or source was last seen is part of it."""
MUTED = ""
CLEAR_MS: Mapping[str, int] = {
    "dead": 120_000,
    "paused": 60_000,
    "down": 300_000,
    "late": 60_000,
    "silent": 0,
    "refused": 0,
}
"""How long a reported condition must be gone before it is over. One that comes and goes is one condition."""
CLAIM_MS = 60_000
RETRY_SECONDS = (15, 30, 60, 120, 300, 600, 900)
_OF_DESTINATIONS = ("dead", "paused", "down", "late")
_COLUMNS = "topic, kind, subject, incident, began_at, bad_at, over_at, told_at, say, detail, tries, claim, problem"


@dataclass(frozen=True, slots=True)
class Incident:
    """One row of the table alerts. over_at: None while it lasts."""

    topic: str
    kind: AlertKind
    subject: str
    incident: str
    began_at: int
    bad_at: int
    over_at: int | None
    told_at: int | None
    say: str | None
    detail: dict[str, Any]
    tries: int
    claim: str | None
    problem: str | None

    def covers(self, other: "Incident") -> bool:
        """Whether `other` is part of the same incident: of the same destination or source, and begun while this one lasted.

        For deliveries that died that is until the last one did: one that was refused must not hide the outage after it.
        """
        if self.subject != other.subject or (self.kind in _OF_DESTINATIONS) != (other.kind in _OF_DESTINATIONS):
            return False
        until = int(self.detail["last_at"]) if self.kind == "dead" else self.bad_at + JOIN_MS
        return until >= other.began_at


def open_incidents(tx: Tx) -> Sequence[Incident]:
    """All conditions that last, or whose all-clear is not sent yet, oldest first."""
    return [_incident(row) for row in tx.run(f"SELECT {_COLUMNS} FROM alerts ORDER BY began_at, topic").all()]


def reconcile(tx: Tx, conditions: Sequence[Condition], rules: AlertTable, now: int, round_at: int) -> bool:
    """Brings the state up to what was found in the round that was taken at `round_at`. Idempotent.

    False, and nothing is done, where a later round has begun: what was found is older than what others know.
    """
    lock = "UPDATE counters SET value = value WHERE name = ? AND value = ?"
    if not tx.run(lock, ROUND, round_at).rowcount:
        return False
    known = {one.topic: one for one in open_incidents(tx)}
    for condition in conditions:
        _see(tx, condition, known.get(condition.topic), now)
    seen = {condition.topic for condition in conditions}
    for alert in known.values():
        is_known = alert.told_at is not None or alert.say is not None
        gone_ms = now - alert.bad_at
        if alert.topic not in seen and alert.over_at is None and (not is_known or gone_ms >= CLEAR_MS[alert.kind]):
            _end(tx, alert, now)
    _tell_new(tx, rules, now)
    _tell_over(tx, now)
    return True


def claim_pending(tx: Tx, token: str, now: int) -> Sequence[Incident]:
    """Claims everything still to be sent, for the first process that asks, once its first part is due. A failed attempt waits
    longer."""
    rows = tx.run(
        "UPDATE alerts SET claim = ?, claimed_until = ? WHERE say IS NOT NULL AND (claim IS NULL OR claimed_until <= ?)"
        f" AND (SELECT MIN(next_try_at) FROM alerts WHERE say IS NOT NULL) <= ? RETURNING {_COLUMNS}",
        token,
        now + CLAIM_MS,
        now,
        now,
    ).all()
    return sorted((_incident(row) for row in rows), key=lambda one: (one.began_at, one.topic))


def has_unsaid(tx: Tx, now: int) -> bool:
    """Whether claim_pending would find something."""
    statement = "SELECT 1 FROM alerts WHERE say IS NOT NULL AND next_try_at <= ? AND (claim IS NULL OR claimed_until <= ?) LIMIT 1"
    return tx.run(statement, now, now).first() is not None


def mark_sent(tx: Tx, sent: Sequence[Incident], token: str, now: int) -> None:
    """Marks them as sent. Conditions reported as over are removed; those an all-clear reported as still dead become MUTED."""
    for alert in sent:
        if alert.over_at is not None:
            tx.run("DELETE FROM alerts WHERE topic = ? AND claim = ?", alert.topic, token)
        elif alert.say == "over":
            statement = "UPDATE alerts SET incident = ? WHERE topic = ? AND claim = ?"
            tx.run(statement, MUTED, alert.topic, token)
    tx.run(
        "UPDATE alerts SET told_at = ?, say = NULL, claim = NULL, claimed_until = NULL, tries = 0, problem = NULL WHERE claim = ?",
        now,
        token,
    )


def mark_pending(tx: Tx, token: str, tries: int, problem: str, now: int) -> int:
    """Records a failed attempt, the `tries`-th, and returns when to retry (ms)."""
    again = now + RETRY_SECONDS[min(tries, len(RETRY_SECONDS)) - 1] * 1000
    tx.run(
        "UPDATE alerts SET tries = ?, next_try_at = ?, problem = ?, claim = NULL, claimed_until = NULL WHERE claim = ?",
        tries,
        again,
        problem,
        token,
    )
    return again


def _see(tx: Tx, condition: Condition, known: Incident | None, now: int) -> None:
    """Records that a condition lasts. One whose all-clear is not on its way yet continues."""
    detail = json.dumps(condition.detail, sort_keys=True)
    if known is None:
        tx.run(
            "INSERT INTO alerts (topic, kind, subject, incident, began_at, bad_at, detail) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            condition.topic,
            condition.kind,
            condition.subject,
            condition.topic,
            condition.began_at,
            now,
            detail,
        )
        return
    if known.over_at is not None:
        if known.claim is not None:
            return  # its all-clear is being sent: it starts over after that
        statement = "UPDATE alerts SET say = NULL WHERE incident = ? AND say = 'over' AND claim IS NULL"
        tx.run(statement, known.incident)
    statement = "UPDATE alerts SET bad_at = ?, detail = ?, over_at = NULL WHERE topic = ?"
    tx.run(statement, now, detail, condition.topic)
    last_at = condition.detail.get("last_at", 0)
    if known.incident == MUTED and known.told_at is not None and last_at > known.told_at + JOIN_MS:
        statement = "UPDATE alerts SET began_at = ?, told_at = NULL, incident = topic WHERE topic = ?"
        tx.run(statement, last_at, condition.topic)


def _end(tx: Tx, alert: Incident, now: int) -> None:
    """Ends a condition. It needs no all-clear if it was never reported."""
    if alert.say is None and (alert.told_at is None or alert.incident == MUTED):
        tx.run("DELETE FROM alerts WHERE topic = ?", alert.topic)
    else:
        tx.run("UPDATE alerts SET over_at = ? WHERE topic = ?", now, alert.topic)


def _tell_new(tx: Tx, rules: AlertTable, now: int) -> None:
    """Reports conditions that lasted long enough, or adds them to an incident that was just reported."""
    everything = open_incidents(tx)
    open_ones = [one for one in everything if one.incident != MUTED and (one.told_at is not None or one.say == "alert")]
    for alert in everything:
        if alert.told_at is not None or alert.say is not None or now - alert.began_at < _delay_ms(alert.kind, rules):
            continue
        of = next((one for one in open_ones if one.say != "over" and one.covers(alert)), None)
        if of is not None:
            statement = "UPDATE alerts SET incident = ?, told_at = ? WHERE topic = ?"
            tx.run(statement, of.incident, now, alert.topic)
            continue
        statement = "UPDATE alerts SET say = 'alert', incident = topic, next_try_at = ? WHERE topic = ?"
        tx.run(statement, now, alert.topic)
        open_ones.append(alert)


def _tell_over(tx: Tx, now: int) -> None:
    """The all-clear of an incident is due when all its conditions are over; for an outage even if some deliveries are still
    dead."""
    incidents: dict[str, list[Incident]] = {}
    for alert in open_incidents(tx):
        if alert.incident != MUTED:
            incidents.setdefault(alert.incident, []).append(alert)
    for parts in incidents.values():
        causes = [one for one in parts if one.kind != "dead"] or parts
        is_told = all(one.told_at is not None and one.say is None for one in parts)
        if is_told and all(one.over_at is not None for one in causes):
            statement = "UPDATE alerts SET say = 'over', next_try_at = ? WHERE topic = ?"
            tx.run_many(statement, [(now, one.topic) for one in parts])


def _delay_ms(kind: AlertKind, rules: AlertTable) -> int:
    if kind == "down":
        return int(rules.down_minutes * 60_000)
    return int(rules.gather_seconds * 1000) if kind in ("dead", "paused") else 0


def _incident(row: Any) -> Incident:
    topic, kind, subject, incident, began_at, bad_at, over_at, told_at, say, detail, *rest = row
    return Incident(topic, kind, subject, incident, began_at, bad_at, over_at, told_at, say, json.loads(detail), *rest)
