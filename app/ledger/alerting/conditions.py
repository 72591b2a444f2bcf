"""Detects what is wrong and worth an alert, with counts and no personal data. Read only, by index and bounded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.config.bridge_toml import AlertKind, AlertTable
from app.ledger.alerting.refusals import HOUR_MS, hour_of
from app.ledger.forwarding.breaker import BREAKER_FAILURES, RESTORED
from app.ledger.forwarding.claims import due_since
from app.ledger.reading.money.stake import Stakes
from app.ledger.reading.summary.overview import MOST, waiting
from app.ledger.reading.summary.stats import workers_alive
from app.ledger.reading.where import NEWEST_OF_SOURCE
from app.ledger.transaction import Tx

LEARNED_DAYS = 28

LEAST_DAYS = 7

LEAST_EVENTS = 20
"""Less history says nothing about a source."""

OUTLIER_DAYS = 21
"""From so much history on (three weekends), …"""

OUTLIER_RATIO = 3
"""… a single pause so many times longer than all others was an outage and is not usual."""

_DAY_MS = 86_400_000

_ID_AT = "SELECT b.id FROM events b WHERE b.received_at <= ? ORDER BY b.received_at DESC LIMIT 1"
"""The id that had been given out by then: ids ascend with time, and only received_at has an index over all sources."""

_WALK = f"""
  WITH RECURSIVE walk(id) AS (
    SELECT CAST(? AS BIGINT)
    UNION ALL
    SELECT (SELECT e.id FROM events e WHERE e.source = ?
              AND e.id <= MIN(w.id - 1, COALESCE(({_ID_AT.replace("?", "w.received_at - ?")}), 0)) ORDER BY e.id DESC LIMIT 1)
    FROM walk JOIN events w ON w.id = walk.id WHERE w.received_at > ?)
  SELECT w.received_at,
    (SELECT n.received_at FROM events n WHERE n.source = ? AND n.id > w.id AND n.id <= ?
     ORDER BY n.id LIMIT 1)
  FROM walk JOIN events w ON w.id = walk.id"""
"""One statement, since PostgreSQL would plan each of some two thousand small ones."""


USUAL_HOURS = 7 * 24


@dataclass(frozen=True, slots=True)
class Condition:
    """subject: the name of a destination or source. began_at: ms. detail: counts for the text, never personal data."""

    kind: AlertKind
    subject: str
    began_at: int
    detail: dict[str, Any]

    @property
    def topic(self) -> str:
        return f"{self.kind}:{self.subject}"


@dataclass(slots=True)
class Detector:
    """What to check. Keeps what it learned about a silent source until that sends again."""

    rules: AlertTable
    destinations: Sequence[str]
    sources: Sequence[str]
    hold_seconds: float
    """HOLD_SECONDS: a delivery that waits for a Lead is not late."""
    stakes: Stakes = field(default_factory=Stakes)
    _learned: dict[tuple[str, int], int | None] = field(default_factory=dict)

    def conditions(self, tx: Tx, now: int, began: Mapping[str, int]) -> Sequence[Condition]:
        """All conditions at `now` (ms). began: when known ones began, by topic."""
        conditions: list[Condition] = []
        kinds = self.rules.kinds
        if "dead" in kinds:
            conditions += [t for name in self.destinations for t in self._dead(tx, name, now)]
        stopped = self._stopped(tx, now)
        conditions += [t for t in stopped if t.kind in kinds]
        if "late" in kinds:
            going = set(self.destinations) - {t.subject for t in stopped}
            conditions += [t for name in sorted(going) for t in self._late(tx, name, now)]
        for source in self.sources:
            if "refused" in kinds:
                conditions += self._refused(tx, source, now, began.get(f"refused:{source}", now))
            if "silent" in kinds and source not in self.rules.not_sources:
                conditions += self._silent(tx, source, now)
        return conditions

    def _dead(self, tx: Tx, destination: str, now: int) -> list[Condition]:
        since = now - int(self.rules.quiet_hours * HOUR_MS)
        newest = (
            "SELECT last_status, dead_at FROM deliveries WHERE status = 'dead' AND destination = ? AND dead_at >= ?"
            f" ORDER BY dead_at DESC LIMIT {MOST}"
        )
        columns = "last_status, COUNT(*), MIN(dead_at), MAX(dead_at)"
        statement = f"SELECT {columns} FROM ({newest}) n GROUP BY last_status ORDER BY 2 DESC"
        rows = tx.run(statement, destination, since).all()
        count = sum(row[1] for row in rows)
        if count < self.rules.dead:
            return []
        codes = {str(code or "no answer"): n for code, n, *_ in rows}
        stake = self.stakes.of_dead(tx, destination, since, count).text
        detail = {"count": count, "codes": codes, "last_at": max(row[3] for row in rows), "stake": stake}
        return [Condition("dead", destination, min(row[2] for row in rows), detail)]

    def _stopped(self, tx: Tx, now: int) -> list[Condition]:
        """Destinations that are paused or whose breaker is open."""
        condition, value = tx.among("name", self.destinations)
        columns = "name, paused_at, paused_token, paused_reason, failures"
        statement = f"SELECT {columns} FROM destinations WHERE {condition} ORDER BY name"
        stopped = []
        for name, paused_at, token, reason, failures in tx.run(statement, value).all():
            detail = self._waiting(tx, name) if paused_at or failures >= BREAKER_FAILURES else {}
            if paused_at is not None:
                why = {"by_hand": token is None}
                if token is not None or str(reason).startswith(
                    RESTORED
                ):  # else a person's own words, which are not sent
                    why["reason"] = reason
                stopped.append(Condition("paused", name, paused_at, detail | why))
            elif failures >= BREAKER_FAILURES:
                stopped.append(Condition("down", name, now, detail))
        return stopped

    def _late(self, tx: Tx, destination: str, now: int) -> list[Condition]:
        """Deliveries that should have been sent long ago, to a destination that seems healthy."""
        hold_ms, late_ms = int(self.hold_seconds * 1000), int(self.rules.late_minutes * 60_000)
        since = due_since(tx, destination, now - late_ms, now=now, hold_ms=hold_ms)
        if since is None:
            return []
        workers = len(workers_alive(tx, now))
        return [Condition("late", destination, since, {**self._waiting(tx, destination), "workers": workers})]

    def _waiting(self, tx: Tx, destination: str) -> dict[str, Any]:
        count = waiting(tx, destination)
        return {"waiting": count, "stake": self.stakes.of_waiting(tx, destination, count).text}

    def _refused(self, tx: Tx, source: str, now: int, began_at: int) -> list[Condition]:
        """Sources with more refusals in this hour and the last than in two usual hours of the week before."""
        recent = tx.run(
            "SELECT reason, SUM(count) FROM refusals WHERE source = ? AND hour >= ? GROUP BY reason ORDER BY 2 DESC, 1",
            source,
            hour_of(now) - HOUR_MS,
        ).all()
        count = sum(int(n) for _, n in recent)
        if count < self.rules.refused:
            return []
        until = hour_of(began_at) - HOUR_MS
        usual = tx.run(
            "SELECT COALESCE(SUM(count), 0) FROM refusals WHERE source = ? AND hour >= ? AND hour < ?",
            source,
            until - USUAL_HOURS * HOUR_MS,
            until,
        ).scalar_one()
        if count < self.rules.refused_factor * 2 * int(usual) / USUAL_HOURS:
            return []
        return [Condition("refused", source, now, {"count": count, "reasons": {r: int(n) for r, n in recent}})]

    def _silent(self, tx: Tx, source: str, now: int) -> list[Condition]:
        heard, floor_ms = last_seen(tx, source), int(self.rules.silence_floor_minutes * 60_000)
        if heard is None or now - heard[1] < self.rules.silence_factor * floor_ms:
            return []
        key = (source, heard[0])
        if key not in self._learned:  # the past of a silent source does not change
            self._learned = {k: v for k, v in self._learned.items() if k[0] != source}
            self._learned[key] = usual_gap(tx, source, floor_ms)
        usual = self._learned[key]
        if usual is None or now - heard[1] < self.rules.silence_factor * usual:
            return []
        return [Condition("silent", source, heard[1], {"usual_seconds": usual // 1000})]


def last_seen(tx: Tx, source: str) -> tuple[int, int] | None:
    """(id, received_at) of the newest event of a source."""
    statement = f"SELECT id, received_at FROM events WHERE {NEWEST_OF_SOURCE}"
    row = tx.run(statement, source, source).first()
    return (row[0], row[1]) if row else None


def usual_gap(tx: Tx, source: str, floor_ms: int) -> int | None:
    """The longest usual pause (ms) before the newest event, at least floor_ms; None if too little is known."""
    newest = last_seen(tx, source)
    if newest is None:
        return None
    end = newest[1]
    since = end - LEARNED_DAYS * _DAY_MS
    if not _has_history(tx, source, since, end):
        return None
    pauses, began = _pauses(tx, source, newest[0], since, floor_ms)
    longest = sorted([*pauses, floor_ms, floor_ms], reverse=True)
    if end - began >= OUTLIER_DAYS * _DAY_MS and longest[0] > OUTLIER_RATIO * longest[1]:
        return longest[1]
    return longest[0]


def _has_history(tx: Tx, source: str, since: int, end: int) -> bool:
    first_id = int(tx.run(_ID_AT, since).scalar() or 0)
    statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE source = ? AND id > ? LIMIT {LEAST_EVENTS}) n"
    if tx.run(statement, source, first_id).scalar_one() < LEAST_EVENTS:
        return False
    oldest = "SELECT received_at FROM events WHERE source = ? AND id > ? ORDER BY id LIMIT 1"
    return bool(tx.run(oldest, source, first_id).scalar_one() <= end - LEAST_DAYS * _DAY_MS)


def _pauses(tx: Tx, source: str, newest_id: int, since: int, floor_ms: int) -> tuple[list[int], int]:
    """All pauses longer than floor_ms since `since`, and when the oldest event that was read arrived."""
    statement = _WALK if tx.is_sqlite else _WALK.replace("MIN(", "LEAST(")
    rows = tx.run(statement, newest_id, source, floor_ms, since, source, newest_id).all()
    pauses = [(received_at, following - received_at) for received_at, following in rows if following is not None]
    oldest = min((received_at for received_at, _ in rows), default=since)
    return [pause for _, pause in pauses if pause > floor_ms], max(oldest, since)
