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
    pauses, began = _pauses(ledger, connection, source, since, end, floor_ms)
    longest = sorted([*pauses, floor_ms, floor_ms], reverse=True)
    if end - began >= OUTLIER_DAYS * _DAY_MS and longest[0] > OUTLIER_RATIO * longest[1]:
        return longest[1]
    return longest[0]


def _has_history(ledger: Ledger, connection: Connection, source: str, since: int, end: int) -> bool:
    first_id = _id_at(ledger, connection, since)
    statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE source = ? AND id > ? LIMIT {LEAST_EVENTS}) n"
    if ledger.run(connection, statement, source, first_id).scalar_one() < LEAST_EVENTS:
        return False
    oldest = "SELECT received_at FROM events WHERE source = ? AND id > ? ORDER BY id LIMIT 1"
    return bool(ledger.run(connection, oldest, source, first_id).scalar_one() <= end - LEAST_DAYS * _DAY_MS)


def _pauses(
    ledger: Ledger, connection: Connection, source: str, since: int, end: int, floor_ms: int
) -> tuple[list[int], int]:
    """All pauses longer than floor_ms between `since` and `end`, and when the first event after `since` was."""
    before = "SELECT id, received_at FROM events WHERE source = ? AND id <= ? ORDER BY id DESC LIMIT 1"
    after = "SELECT received_at FROM events WHERE source = ? AND id > ? ORDER BY id LIMIT 1"
    pauses, at = [], end
    while at > since:
        previous = ledger.run(connection, before, source, _id_at(ledger, connection, at - floor_ms)).first()
        if previous is None:
            break
        following = ledger.run(connection, after, source, previous[0]).scalar_one()
        if following - previous[1] > floor_ms:
            pauses.append(following - previous[1])
        at = min(previous[1], at - 1)
    return pauses, max(at, since)


def _id_at(ledger: Ledger, connection: Connection, at: int) -> int:
    """The id that had been given out by `at`: ids ascend with time, and only received_at has an index over all sources."""
    statement = "SELECT id FROM events WHERE received_at <= ? ORDER BY received_at DESC LIMIT 1"
    return int(ledger.run(connection, statement, at).scalar() or 0)
