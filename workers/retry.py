"""Computes when to retry. Pure: clock and dice are arguments."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.model import AttemptResult

LONGEST_RETRY_AFTER_SECONDS = 86400
JITTER = 0.2
"""Each delay is multiplied by a random factor from 0.8 to 1.2, so that failures do not return together."""


def due_after(
    result: AttemptResult,
    tries: int,
    schedule: Sequence[float],
    *,
    now_ms: int,
    dice: float,
    retry_after_seconds: float | None = None,
) -> int | None:
    """When (ms) the next attempt is due; None if there is none.

    tries: attempts of this schedule, including the one just made. dice: 0 to 1. retry_after_seconds: a lower bound, at most a
    day.
    """
    if result in ("delivered", "permanent", "unattributed"):
        return None
    if result in ("unauthorized", "redirected", "continued"):
        return now_ms
    if tries > len(schedule):
        return None
    delay = schedule[tries - 1] * (1 - JITTER + 2 * JITTER * dice)
    if retry_after_seconds is not None:
        delay = max(delay, min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
    return now_ms + int(delay * 1000)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After in seconds from now, given as seconds or as a date; None if absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
