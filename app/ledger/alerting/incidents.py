"""The state of alerts in the ledger: which condition was reported, so that each is reported once.

A condition is reported once it has lasted for a while, and again when it is over. Further conditions of the same destination
or source that begin meanwhile are part of the same incident, which is one alert and one all-clear.

Deliveries that died in an outage stay dead when it is over. The all-clear mentions them, and nothing more is sent (MUTED) until
they are replayed or more die.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.config.bridge_toml import AlertKind, AlertTable
from app.ledger.alerting import notifications
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
OLDER = "webhook"
"""The one channel of versions before 0017."""
_OF_DESTINATIONS = ("dead", "paused", "down", "late")
_COLUMNS = "topic, kind, subject, incident, began_at, bad_at, over_at, told_at, detail, incident_id"


@dataclass(frozen=True, slots=True)
class Incident:
    """One row of the table alerts. over_at: None while it lasts. told_at: None until it is reported."""

    topic: str
    kind: AlertKind
    subject: str
    incident: str
    began_at: int
    bad_at: int
    over_at: int | None
    told_at: int | None
    detail: dict[str, Any]
    incident_id: int | None

    @property
    def is_open(self) -> bool:
        """Whether it was reported and awaits its all-clear."""
        return self.told_at is not None and self.over_at is None and self.incident != MUTED

    def covers(self, other: "Incident") -> bool:
        """Whether `other` is part of the same incident: it concerns the same destination or source and began while this lasted.

        Dead deliveries last until the last one died: a refused delivery must not hide the outage after it.
        """
        if self.subject != other.subject or (self.kind in _OF_DESTINATIONS) != (other.kind in _OF_DESTINATIONS):
            return False
        until = int(self.detail["last_at"]) if self.kind == "dead" else self.bad_at + JOIN_MS
        return until >= other.began_at


def open_incidents(tx: Tx) -> Sequence[Incident]:
    """All conditions that last or await their all-clear, oldest first."""
    return [_incident(row) for row in tx.run(f"SELECT {_COLUMNS} FROM alerts ORDER BY began_at, topic").all()]


def reconcile(
    tx: Tx, conditions: Sequence[Condition], rules: AlertTable, now: int, round_at: int, channels: Sequence[str]
) -> bool:
    """Updates the state to the conditions detected in the round that was taken at `round_at`. Idempotent.

    channels: where alerts go. Returns False and changes nothing if a later round has begun, since these conditions are stale.
    """
    lock = "UPDATE counters SET value = value WHERE name = ? AND value = ?"
    if not tx.run(lock, ROUND, round_at).rowcount:
        return False
    _take_over(tx, channels, now)
    known = {incident.topic: incident for incident in open_incidents(tx)}
    for condition in conditions:
        _see(tx, condition, known.get(condition.topic), now)
    seen = {condition.topic for condition in conditions}
    for alert in known.values():
        is_gone = alert.told_at is None or now - alert.bad_at >= CLEAR_MS[alert.kind]
        if alert.topic not in seen and alert.over_at is None and is_gone:
            _end(tx, alert, now)
    _report_new(tx, rules, channels, now)
    _report_over(tx, now)
    return True


def _take_over(tx: Tx, channels: Sequence[str], now: int) -> None:
    """Takes over the incidents of a version before 0017, reported or about to be: that version no longer sends them."""
    unsent = (
        "UPDATE alerts SET say = NULL, claim = NULL, claimed_until = NULL, told_at = ? WHERE say = ?"
        " AND (claim IS NULL OR claimed_until <= ?) RETURNING topic"
    )
    pending = {topic for (topic,) in tx.run(unsent, now, "alert", now).all()}
    tx.run(unsent, now, "over", now)
    ids: dict[str, int] = {}
    for alert in open_incidents(tx):
        if alert.told_at is None or alert.incident_id is not None or alert.incident == MUTED:
            continue
        ids[alert.topic] = _record(tx, alert, alert.told_at, ids.get(alert.incident))
        if alert.topic in pending:
            notifications.announce(tx, ids[alert.topic], channels, now)
        elif alert.incident == alert.topic and OLDER in channels:
            notifications.adopt(tx, ids[alert.topic], OLDER, alert.told_at)


def _see(tx: Tx, condition: Condition, known: Incident | None, now: int) -> None:
    """Records that a condition lasts. One that awaits its all-clear continues."""
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
    statement = "UPDATE alerts SET bad_at = ?, detail = ?, over_at = NULL WHERE topic = ?"
    tx.run(statement, now, detail, condition.topic)
    last_at = condition.detail.get("last_at", 0)
    if known.incident != MUTED:
        statement = "UPDATE incidents SET seen_at = ?, detail = ?, over_at = NULL WHERE id = ?"
        tx.run(statement, now, detail, known.incident_id)
    elif known.told_at is not None and last_at > known.told_at + JOIN_MS:
        statement = (
            "UPDATE alerts SET began_at = ?, told_at = NULL, incident = topic, incident_id = NULL WHERE topic = ?"
        )
        tx.run(statement, last_at, condition.topic)


def _end(tx: Tx, alert: Incident, now: int) -> None:
    """Ends a condition. It needs no all-clear if it was never reported."""
    if alert.told_at is None or alert.incident == MUTED:
        tx.run("DELETE FROM alerts WHERE topic = ?", alert.topic)
    else:
        tx.run("UPDATE alerts SET over_at = ? WHERE topic = ?", now, alert.topic)
        tx.run("UPDATE incidents SET over_at = ? WHERE id = ?", now, alert.incident_id)


def _report_new(tx: Tx, rules: AlertTable, channels: Sequence[str], now: int) -> None:
    """Reports conditions that lasted long enough, or adds them to an incident that was reported already."""
    everything = open_incidents(tx)
    open_ones = [
        (incident, incident.incident_id)
        for incident in everything
        if incident.incident != MUTED and incident.told_at is not None
    ]
    for alert in everything:
        if alert.told_at is not None or now - alert.began_at < _delay_ms(alert.kind, rules):
            continue
        of = next(((incident, identity) for incident, identity in open_ones if incident.covers(alert)), None)
        identity = _record(tx, alert, now, _lead(open_ones, of[0].incident) if of else None)
        tx.run(
            "UPDATE alerts SET incident = ?, told_at = ?, incident_id = ? WHERE topic = ?",
            *(of[0].incident if of else alert.topic, now, identity, alert.topic),
        )
        if of is None:
            notifications.announce(tx, identity, channels, now)
            open_ones.append((alert, identity))


def _lead(open_ones: Sequence[tuple[Incident, int | None]], topic: str) -> int | None:
    return next((identity for incident, identity in open_ones if incident.topic == topic), None)


def _record(tx: Tx, alert: Incident, reported_at: int, part_of: int | None) -> int:
    """Adds a row to incidents and returns its ID."""
    statement = (
        "INSERT INTO incidents (topic, kind, subject, part_of, began_at, seen_at, reported_at, over_at, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
    )
    row = (
        *(alert.topic, alert.kind, alert.subject, part_of, alert.began_at, alert.bad_at, reported_at, alert.over_at),
        json.dumps(alert.detail, sort_keys=True),
    )
    identity = int(tx.run(statement, *row).scalar_one())
    tx.run("UPDATE alerts SET incident_id = ? WHERE topic = ?", identity, alert.topic)
    return identity


def _report_over(tx: Tx, now: int) -> None:
    """The all-clear of an incident is due when all its conditions are over; for an outage even if some deliveries are still
    dead. These become MUTED."""
    incidents: dict[str, list[Incident]] = {}
    for alert in open_incidents(tx):
        if alert.incident != MUTED:
            incidents.setdefault(alert.incident, []).append(alert)
    for topic, parts in incidents.items():
        causes = [part for part in parts if part.kind != "dead"] or parts
        if any(part.told_at is None for part in parts) or any(part.over_at is None for part in causes):
            continue
        for part in parts:
            if part.over_at is not None:
                tx.run("DELETE FROM alerts WHERE topic = ?", part.topic)
                continue
            tx.run("UPDATE alerts SET incident = ?, told_at = ? WHERE topic = ?", MUTED, now, part.topic)
            tx.run("UPDATE incidents SET over_at = ? WHERE id = ?", now, part.incident_id)
        lead = next((part.incident_id for part in parts if part.topic == topic), None)
        if lead is not None:
            notifications.call_off(tx, lead, now)


def _delay_ms(kind: AlertKind, rules: AlertTable) -> int:
    if kind == "down":
        return int(rules.down_minutes * 60_000)
    return int(rules.gather_seconds * 1000) if kind in ("dead", "paused") else 0


def _incident(row: Any) -> Incident:
    topic, kind, subject, incident, began_at, bad_at, over_at, told_at, detail, incident_id = row
    return Incident(topic, kind, subject, incident, began_at, bad_at, over_at, told_at, json.loads(detail), incident_id)
