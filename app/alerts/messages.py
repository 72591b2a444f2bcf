"""Alerts as people read them.

They carry counts, sums, reasons, names of sources and destinations, and links, but no personal data and no text from a
destination or source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.ledger.alerting.notifications import Notification, Reported, What
from app.ledger.reading.summary.overview import MOST
from app.ledger.reading.summary.problem import counted

TEST = "This is a test alert from Conversion Bridge. Alerts arrive in this channel."
DEAD_PAGE = "/failed?status=dead"
BAD, GOOD = "\N{LARGE RED CIRCLE} ", "\N{LARGE GREEN CIRCLE} "
SEVERE = ("dead", "paused", "down", "late")
"""Kinds where conversions do not reach their destination."""


@dataclass(frozen=True, slots=True)
class Message:
    """One notification in words. key: the same for an alert and its all-clear. url: of the page about it, if PUBLIC_URL is set."""

    id: int
    what: What
    key: str
    kind: str
    subject: str
    title: str
    text: str
    url: str | None
    began_at: int
    is_over: bool

    @property
    def line(self) -> str:
        return f"{BAD if self.what == 'alert' else GOOD}{self.text}"


def message_of(notification: Notification, public_url: str | None, now: int) -> Message:
    incident = notification.incident
    path = page_of(incident)
    if notification.what == "alert":
        title = sentence(incident, now)
        stake = f" At stake: {incident.detail['stake']}." if incident.detail.get("stake") else ""
        past = f" It ended at {_time(incident.over_at, now)}." if incident.over_at is not None else ""
        text = f"{title}{stake}{past}"
    else:
        dead = next((part for part in (incident, *incident.parts) if part.kind == "dead"), None)
        path = DEAD_PAGE if dead else path
        text = title = _all_clear(incident)
    link = f"{public_url}{path}" if public_url else f"(dashboard: {path})"
    return Message(
        id=notification.id,
        what=notification.what,
        key=f"conversion-bridge:{incident.id}:{incident.topic}",
        kind=incident.kind,
        subject=incident.subject,
        title=title,
        text=f"{text} {link}",
        url=f"{public_url}{path}" if public_url else None,
        began_at=incident.began_at,
        is_over=incident.over_at is not None,
    )


def page_of(incident: Reported) -> str:
    """The page of the dashboard about an incident."""
    if incident.kind in ("paused", "down"):
        return "/destination"
    if incident.kind == "silent":
        return f"/sources/{incident.subject}"
    if incident.kind == "refused":
        return f"/inbound?source={incident.subject}"
    return DEAD_PAGE if incident.kind == "dead" else "/"


def _queued(count: int) -> str:
    return f"{counted(count, 'delivery is', 'deliveries are')} queued"


def sentence(alert: Reported, now: int) -> str:
    """The sentence that reports an incident."""
    name, detail, since = alert.subject, alert.detail, _time(alert.began_at, now)
    if alert.kind == "dead":
        count = detail["count"]
        deliveries = "delivery to {} has" if count == 1 else "deliveries to {} have"
        return f"{_number(count)} {deliveries.format(name)} failed permanently since {since} (answers: {_counts(detail['codes'])})."
    if alert.kind == "paused":
        why = "manually" if detail["by_hand"] else "because it refuses our deliveries"
        reason = f": {detail['reason']}" if detail.get("reason") else ""
        return f"Forwarding to {name} has been paused {why} since {since}{reason}. {_queued(detail['waiting'])}."
    if alert.kind == "down":
        return (
            f"{name} has accepted nothing since {since}. Deliveries are retried one at a time; the rest follows once it recovers."
            f" {_queued(detail['waiting'])}."
        )
    if alert.kind == "late":
        why = (
            "no worker is alive"
            if not detail["workers"]
            else f"workers alive: {detail['workers']}; they cannot keep up, or cannot reach Redis"
        )
        return f"Deliveries to {name} are late since {since}: {_queued(detail['waiting'])} ({why})."
    if alert.kind == "silent":
        usual, silent = detail["usual_seconds"], ((alert.over_at or now) - alert.began_at) / 1000
        return f"Source {name} was last seen {_span(silent)} ago ({since}); its longest usual pause is {_span(usual)}."
    reasons = _counts(detail["reasons"])
    return f"{_number(detail['count'])} requests from source {name} were refused in the last two hours ({reasons})."


def _all_clear(first: Reported) -> str:
    parts = (first, *first.parts)
    ended = max(part.over_at or 0 for part in parts)
    kinds = {part.kind for part in parts}
    if kinds & {"paused", "down"}:
        outcome = f"{first.subject} accepts deliveries again"
    elif "late" in kinds:
        outcome = f"deliveries to {first.subject} are on time again"
    elif "dead" in kinds:
        outcome = f"the failed deliveries to {first.subject} were replayed or discarded, or no more failed for a while"
    elif "silent" in kinds:
        outcome = f"source {first.subject} is active again"
    else:
        outcome = f"refusals of source {first.subject} are back to normal"
    dead = next((part for part in parts if part.kind == "dead"), None)
    meanwhile = (
        f" {_number(dead.detail['count'])} of its deliveries failed permanently in the meantime."
        if dead and len(parts) > 1
        else ""
    )
    return f"All clear: {outcome}, after {_span((ended - first.began_at) / 1000)}.{meanwhile}"


def lines_of(messages: Sequence[Message]) -> str:
    """One text for several messages, one per line, alerts first."""
    return "\n".join(message.line for message in sorted(messages, key=lambda message: message.what != "alert"))


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ×{count:,}" for name, count in counts.items())


def _number(count: int) -> str:
    return f"{count:,}{'+' if count >= MOST else ''}"


def _time(milliseconds: int | None, now: int) -> str:
    moment = datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
    is_today = now - (milliseconds or 0) < 20 * 3_600_000
    return f"{moment:%H:%M} UTC" if is_today else f"{moment:%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    for size, unit, name in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= size:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
