"""How long a source's pauses usually are, learned from its own recent events. Read only, by index.

It walks back from event to event in steps of the shortest pause that matters, so a source with a million events costs no more
than one with a thousand.
"""

from sqlalchemy import Connection

from app.ledger.engine import Ledger

LEARNED_DAYS = 28
LEAST_DAYS = 7
LEAST_EVENTS = 20
"""Of a source with less history nothing is known."""
OUTLIER_DAYS = 21
"""From so much history on (three weekends), …"""
OUTLIER_RATIO = 3
"""… a single pause so many times longer than all others was an outage and is not usual."""
_DAY_MS = 86_400_000
_ID_AT = "SELECT b.id FROM events b WHERE b.received_at <= ? ORDER BY b.received_at DESC LIMIT 1"
"""The id that had been given out by then: ids ascend with time, and only received_at has an index over all sources."""


def last_heard(ledger: Ledger, connection: Connection, source: str) -> tuple[int, int] | None:
    """(id, received_at) of the newest event of a source."""
    statement = "SELECT id, received_at FROM events WHERE source = ? ORDER BY id DESC LIMIT 1"
    row = ledger.run(connection, statement, source).first()
    return (row[0], row[1]) if row else None


def usual_pause(ledger: Ledger, connection: Connection, source: str, floor_ms: int) -> int | None:
    """The longest usual pause (ms) before the newest event, at least floor_ms; None where too little is known."""
    newest = last_heard(ledger, connection, source)
    if newest is None:
        return None
    end = newest[1]
    since = end - LEARNED_DAYS * _DAY_MS
    if not _has_history(ledger, connection, source, since, end):
        return None
    pauses, began = _pauses(ledger, connection, source, newest[0], since, floor_ms)
    longest = sorted([*pauses, floor_ms, floor_ms], reverse=True)
    if end - began >= OUTLIER_DAYS * _DAY_MS and longest[0] > OUTLIER_RATIO * longest[1]:
        return longest[1]
    return longest[0]


def _has_history(ledger: Ledger, connection: Connection, source: str, since: int, end: int) -> bool:
    first_id = int(ledger.run(connection, _ID_AT, since).scalar() or 0)
    statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE source = ? AND id > ? LIMIT {LEAST_EVENTS}) n"
    if ledger.run(connection, statement, source, first_id).scalar_one() < LEAST_EVENTS:
        return False
    oldest = "SELECT received_at FROM events WHERE source = ? AND id > ? ORDER BY id LIMIT 1"
    return bool(ledger.run(connection, oldest, source, first_id).scalar_one() <= end - LEAST_DAYS * _DAY_MS)


def _pauses(
    ledger: Ledger, connection: Connection, source: str, newest_id: int, since: int, floor_ms: int
) -> tuple[list[int], int]:
    """All pauses longer than floor_ms between `since` and the newest event, and when the oldest event looked at was."""
    statement = _WALK if ledger.is_sqlite else _WALK.replace("MIN(", "LEAST(")
    rows = ledger.run(connection, statement, newest_id, source, floor_ms, since, source).all()
    found = [(at, following - at) for at, following in rows if following is not None]
    oldest = min((at for at, _ in rows), default=since)
    return [pause for _, pause in found if pause > floor_ms], max(oldest, since)


_WALK = f"""
  WITH RECURSIVE walk(id) AS (
    SELECT CAST(? AS BIGINT)
    UNION ALL
    SELECT (SELECT e.id FROM events e WHERE e.source = ?
              AND e.id <= MIN(w.id - 1, COALESCE(({_ID_AT.replace("?", "w.received_at - ?")}), 0)) ORDER BY e.id DESC LIMIT 1)
    FROM walk JOIN events w ON w.id = walk.id WHERE w.received_at > ?)
  SELECT w.received_at,
    (SELECT n.received_at FROM events n WHERE n.source = ? AND n.id > w.id ORDER BY n.id LIMIT 1)
  FROM walk JOIN events w ON w.id = walk.id"""
"""One statement, since PostgreSQL would plan each of some two thousand small ones."""
