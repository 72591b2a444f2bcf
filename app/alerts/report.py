"""Incidents for people, open and past, and the state of the channels: one answer for page, API and command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.alerts.channels import channels_of
from app.alerts.messages import page_of, sentence
from app.config.settings import Settings
from app.ledger.alerting.history import HistoryFilter, Record, channel_states, history
from app.ledger.alerting.notifications import Reported
from app.ledger.transaction import Tx
from app.times import iso

TITLES = {
    "dead": "failed",
    "paused": "paused",
    "down": "not responding",
    "late": "late",
    "silent": "silent",
    "refused": "refused",
}


@dataclass(frozen=True, slots=True)
class Report:
    """incidents: newest first. channels: the configured ones; none: alerts are off. next_before: of the next page, None at the
    end."""

    incidents: Sequence[dict[str, Any]]
    channels: Sequence[dict[str, Any]]
    next_before: int | None

    def as_json(self) -> dict[str, Any]:
        return {"incidents": self.incidents, "channels": self.channels, "next_before": self.next_before}


def report(
    tx: Tx, settings: Settings, criteria: HistoryFilter, *, before: int | None = None, limit: int = 50
) -> Report:
    """One page of incidents, with the channels. Raises ConfigurationError."""
    now, records = tx.now(), history(tx, criteria, before=before, limit=limit)
    configured = channels_of(settings)
    states = {state.name: state for state in channel_states(tx, [channel.name for channel in configured])}
    channels = [
        {
            "channel": channel.name,
            "target": channel.target,
            "last_sent_at": iso(states[channel.name].last_sent_at),
            "waiting": states[channel.name].waiting,
            "problem": states[channel.name].problem,
        }
        for channel in configured
    ]
    following = records[-1].incident.id if len(records) == limit else None
    return Report([_shown(record, now) for record in records], channels, following)


def _shown(record: Record, now: int) -> dict[str, Any]:
    incident = record.incident
    return {
        "id": incident.id,
        **_told(incident, now),
        "reported_at": iso(incident.reported_at),
        "seconds": ((incident.over_at or now) - incident.began_at) // 1000,
        "path": page_of(incident),
        "parts": [_told(part, now) for part in incident.parts],
        "notifications": [
            {
                "channel": notified.channel,
                "what": notified.what,
                "state": notified.state,
                "sent_at": iso(notified.sent_at),
                "next_try_at": iso(notified.next_try_at),
                "tries": notified.tries,
                "problem": notified.problem,
            }
            for notified in record.notified
        ],
    }


def _told(incident: Reported, now: int) -> dict[str, Any]:
    detail = incident.detail
    return {
        "kind": incident.kind,
        "subject": incident.subject,
        "text": sentence(incident, now),
        "count": detail.get("count", detail.get("waiting")),
        "stake": detail.get("stake") or "",
        "began_at": iso(incident.began_at),
        "over_at": iso(incident.over_at),
    }
