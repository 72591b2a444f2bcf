"""Alerts as people read them, and posting them to a webhook that takes Slack's JSON (Slack, Mattermost, Discord's /slack).

They carry counts, reasons, names of sources and destinations, and links: nothing of a person, and nothing that a destination or
a source said.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.ledger.alerting.incidents import Incident
from app.ledger.reading.summary.overview import MOST
from app.ledger.reading.summary.problem import counted

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
TEST = "This is a test alert from Conversion Bridge. Alerts arrive in this channel."
PAGES = {"dead": "/failed?status=dead", "paused": "/destination", "down": "/destination", "late": "/"}


def text_of(changed: Sequence[Incident], public_url: str | None, now: int) -> str:
    """One message of all that is to be said, conditions first, each on a line of its own."""
    lines = [_condition(one, public_url, now) for one in changed if one.say == "alert"]
    over = [one for one in changed if one.say == "over"]
    for incident in dict.fromkeys(one.incident for one in over):
        lines.append(_all_clear([one for one in over if one.incident == incident], public_url))
    return "\n".join(lines)


def _condition(alert: Incident, public_url: str | None, now: int) -> str:
    past = f" It ended at {_time(alert.over_at, now)}." if alert.over_at is not None else ""
    stake = f" At stake: {alert.detail['stake']}." if alert.detail.get("stake") else ""
    return f"\N{LARGE RED CIRCLE} {_sentence(alert, now)}{stake}{past} {_link(alert, public_url)}"


def _queued(count: int) -> str:
    return f"{counted(count, 'delivery is', 'deliveries are')} queued"


def _sentence(alert: Incident, now: int) -> str:
    name, detail, since = alert.subject, alert.detail, _time(alert.began_at, now)
    if alert.kind == "dead":
        count = detail["count"]
        what = "delivery to {} has" if count == 1 else "deliveries to {} have"
        return f"{_number(count)} {what.format(name)} failed permanently since {since} (answers: {_counts(detail['codes'])})."
    if alert.kind == "paused":
        why = "by hand" if detail["by_hand"] else "because it refuses our deliveries"
        reason = f": {detail['reason']}" if detail.get("reason") else ""
        return f"Forwarding to {name} is paused {why} since {since}{reason}. {_queued(detail['waiting'])}."
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
        usual, silent = detail["usual_seconds"], (now - alert.began_at) / 1000
        return f"Source {name} was last seen {_span(silent)} ago ({since}); its longest usual pause is {_span(usual)}."
    reasons = _counts(detail["reasons"])
    return f"{_number(detail['count'])} requests from source {name} were refused in the last two hours ({reasons})."


def _all_clear(parts: Sequence[Incident], public_url: str | None) -> str:
    first = next((one for one in parts if one.topic == one.incident), parts[0])
    ended = max(one.over_at or 0 for one in parts)
    kinds = {one.kind for one in parts}
    if kinds & {"paused", "down"}:
        what = f"{first.subject} accepts deliveries again"
    elif "late" in kinds:
        what = f"deliveries to {first.subject} are on time again"
    elif "dead" in kinds:
        what = f"the failed deliveries to {first.subject} were replayed or discarded, or no more failed for a while"
    elif "silent" in kinds:
        what = f"source {first.subject} is active again"
    else:
        what = f"refusals of source {first.subject} are back to normal"
    dead = next((one for one in parts if one.kind == "dead"), None)
    meanwhile = (
        f" {_number(dead.detail['count'])} of its deliveries failed permanently meanwhile."
        if dead and len(parts) > 1
        else ""
    )
    return (
        f"\N{LARGE GREEN CIRCLE} All clear: {what}, after {_span((ended - first.began_at) / 1000)}.{meanwhile}"
        f" {_link(dead or first, public_url)}"
    )


def _link(alert: Incident, public_url: str | None) -> str:
    path = PAGES.get(alert.kind, "/sources")
    return f"{public_url}{path}" if public_url else f"(dashboard: {path})"


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ×{count:,}" for name, count in counts.items())


def _number(count: int) -> str:
    return f"{count:,}{'+' if count >= MOST else ''}"


def _time(at: int | None, now: int) -> str:
    moment = datetime.fromtimestamp((at or 0) / 1000, UTC)
    is_today = now - (at or 0) < 20 * 3_600_000
    return f"{moment:%H:%M} UTC" if is_today else f"{moment:%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    for size, unit, name in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= size:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
