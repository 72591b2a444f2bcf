"""Counts refused requests by source, reason and hour, for pages and alerts.

Only requests to configured sources are counted, and reasons are few, so a client that posts garbage adds no rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.ledger.reading.where import NEWEST_OF_SOURCE
from app.ledger.transaction import Tx
from app.times import iso

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
MINUTES_KEPT_MS = 3 * HOUR_MS


def hour_of(moment: int) -> int:
    """The start of the hour that contains `at` (ms)."""
    return moment // HOUR_MS * HOUR_MS


def add_refusals(
    tx: Tx,
    counted: Mapping[tuple[str, str], int],
    now: int,
    ages: Mapping[tuple[str, str], tuple[int, int]] | None = None,
) -> None:
    """Adds {(source, reason): how many} to the hour and the minute that `now` (ms) lies in. Not idempotent.

    ages: how long before `now` (ms) the first and the last of them were refused; 0 by default.
    """
    hour = hour_of(now)
    rows = []
    for key, count in sorted(counted.items()):
        first, last = (ages or {}).get(key, (0, 0))
        if count:
            rows.append((*key, hour, count, now - first, now - last))
    tx.run_many(
        "INSERT INTO refusals (source, reason, hour, count, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (source, reason, hour) DO UPDATE SET count = refusals.count + excluded.count,"
        " last_at = excluded.last_at",
        rows,
    )
    minute = now // MINUTE_MS * MINUTE_MS
    tx.run_many(
        "INSERT INTO refused_minutes (minute, source, reason, count) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (minute, source, reason) DO UPDATE SET count = refused_minutes.count + excluded.count",
        [(minute, source, reason, count) for source, reason, _, count, _, _ in rows],
    )
    tx.run("DELETE FROM refused_minutes WHERE minute < ?", now - MINUTES_KEPT_MS - MINUTE_MS)


def refusals(tx: Tx, names: Iterable[str] | None, since: int) -> dict[str, dict[str, int]]:
    """For each source of `names` (None: all that have any): refusals by reason since the hour of `since` (ms)."""
    counts: dict[str, dict[str, int]] = {name: {} for name in names or ()}
    rows = tx.run(
        "SELECT source, reason, SUM(count) FROM refusals WHERE hour >= ? GROUP BY source, reason ORDER BY source, reason",
        hour_of(since),
    ).all()
    for source, reason, count in rows:
        if names is None or source in counts:
            counts.setdefault(source, {})[reason] = int(count)
    return counts


def refused_since(tx: Tx, source: str, hour: int) -> int | None:
    """When the first request of this source was refused, from `hour` (ms) on."""
    statement = "SELECT MIN(COALESCE(first_at, hour)) FROM refusals WHERE source = ? AND hour >= ?"
    first = tx.run(statement, source, hour).scalar()
    return None if first is None else int(first)


@dataclass(frozen=True, slots=True)
class Streak:
    """Refused requests of one source since its last accepted one."""

    source: str
    count: int
    reasons: Mapping[str, int]
    since: int
    """When the first of them arrived (ms)."""


def streaks(tx: Tx, names: Iterable[str], since: int) -> list[Streak]:
    """For each source of `names` whose last request was refused: everything refused since its last event and since the hour of
    `since` (ms), most frequent reason first."""
    unbroken = []
    for name in names:
        newest = f"SELECT last_received_at FROM events WHERE {NEWEST_OF_SOURCE}"
        heard = tx.run(newest, name, name).scalar() or 0
        rows = tx.run(
            "SELECT reason, SUM(count), MIN(COALESCE(first_at, hour)) FROM refusals"
            " WHERE source = ? AND hour >= ? AND COALESCE(last_at, hour) > ? GROUP BY reason ORDER BY 2 DESC, 1",
            name,
            hour_of(since),
            heard,
        ).all()
        if rows:
            reasons = {reason: int(count) for reason, count, _ in rows}
            began = max(min(int(first) for *_, first in rows), heard)
            unbroken.append(Streak(name, sum(reasons.values()), reasons, began))
    return unbroken


@dataclass(frozen=True, slots=True)
class LastRefusal:
    """The newest refused request of a source. at: ISO 8601. count: how many were refused for the same reason."""

    source: str
    reason: str
    at: str
    count: int


def last_refusals(tx: Tx, names: Iterable[str], since: int) -> dict[str, LastRefusal]:
    """For each source of `names` that had any refused since the hour of `since` (ms): the last one."""
    rows = tx.run(
        "SELECT source, reason, MAX(COALESCE(last_at, hour)) AS at, SUM(count) FROM refusals WHERE hour >= ?"
        " GROUP BY source, reason ORDER BY at",
        hour_of(since),
    ).all()
    sources = set(names)
    newest = {
        source: LastRefusal(source, reason, iso(int(refused_at)) or "", int(count))
        for source, reason, refused_at, count in rows
    }
    return {source: refusal for source, refusal in newest.items() if source in sources}


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The facts about a source that a remedy mentions. variable: the one that configures it."""

    title: str
    variable: str
    is_signed: bool


def refusal_name(reason: str, *, is_signed: bool) -> str:
    """The reason of a refusal, for people."""
    if reason == "wrong":
        return "wrong signature" if is_signed else "wrong token"
    if reason == "missing":
        return "no signature" if is_signed else "no token"
    return reason


def refusal_remedy(reason: str, source: SourceFacts) -> str:
    """What to do about requests refused for this reason."""
    title, variable = source.title, source.variable
    if reason == "wrong" and source.is_signed:
        return f"Check {variable}: it is not the secret that {title} signs with, or a proxy changes the body."
    if reason == "missing" and source.is_signed:
        return f"Turn on signing at {title} with the secret in {variable}. If it is on, someone else is posting to this URL."
    if reason in ("wrong", "missing"):
        return f"Copy the URL with its token ({variable}) to {title} again."
    if reason in ("too old", "in the future"):
        return "Check the clock of this machine."
    return f"Check what {title} sends: its body cannot be read (log line event.unreadable)."
