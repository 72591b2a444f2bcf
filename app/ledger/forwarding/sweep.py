"""What the workers' sweepers do in the ledger: heartbeats, claims that nobody will finish, and a clock that was set back."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import PROBE_SECONDS
from app.ledger.forwarding.outcomes import ATTEMPT

LOST = "the worker ended before it knew the answer; this attempt may or may not have reached the destination"
CLOCK_TOLERANCE_MS = 2000
"""Machines' clocks differ by less, and what is further ahead of the ledger's clock was written before it was set back."""
LOOKED_AT = 1000


def expired_claims(ledger: Ledger, connection: Connection, now: int) -> list[tuple[int, str, int, int]]:
    """Claims that ran out: (delivery id, claim, attempts, claimed_until)."""
    rows = ledger.run(
        connection,
        "SELECT id, claim, attempts, claimed_until FROM deliveries WHERE claim IS NOT NULL AND claimed_until <= ? LIMIT 500",
        now,
    ).all()
    return [tuple(row) for row in rows]


def claims_of(ledger: Ledger, connection: Connection, worker_ids: Sequence[int]) -> list[tuple[int, str, int, int]]:
    """Claims of these workers, whether they ran out or not."""
    found = []
    for identity, token, attempts, until in ledger.run(
        connection, "SELECT id, claim, attempts, claimed_until FROM deliveries WHERE claim IS NOT NULL"
    ).all():
        if int(token.split(".", 1)[0]) in worker_ids:
            found.append((identity, token, attempts, until))
    return found


def take_over(ledger: Ledger, connection: Connection, claims: Sequence[tuple[int, str, int, int]], *, now: int) -> int:
    """Makes deliveries of claims that nobody will finish due again. What their sender did is unknown, and recorded so."""
    taken = 0
    for identity, token, attempts, _ in claims:
        changed = ledger.run(
            connection,
            "UPDATE deliveries SET claim = NULL, claimed_until = NULL, attempts = attempts + 1, status = 'retrying', due_at = ?,"
            " last_error = ? WHERE id = ? AND claim = ?",
            now,
            LOST,
            identity,
            token,
        ).rowcount
        if changed:
            row = (identity, attempts + 1, "unknown", 0, now, 0, None, LOST, None, None)
            ledger.insert(connection, tables.attempts, ATTEMPT, [row])
            taken += 1
    return taken


def register_worker(ledger: Ledger, connection: Connection, host: str, pid: int, pid_started: str, now: int) -> int:
    """A row for this worker; its id begins the tokens of its claims."""
    statement = (
        "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES (?, ?, ?, ?, ?) RETURNING id"
    )
    return int(ledger.run(connection, statement, host, pid, pid_started, now, now).scalar_one())


def heartbeat(ledger: Ledger, connection: Connection, worker_id: int, now: int) -> None:
    ledger.run(connection, "UPDATE workers SET heartbeat_at = ? WHERE id = ?", now, worker_id)


def stop_worker(ledger: Ledger, connection: Connection, worker_id: int, now: int) -> None:
    ledger.run(connection, "UPDATE workers SET stopped_at = ? WHERE id = ? AND stopped_at IS NULL", now, worker_id)


def workers_here(ledger: Ledger, connection: Connection, host: str) -> list[tuple[int, int, str]]:
    """Workers of this host that did not say that they stopped: (id, pid, pid_started)."""
    rows = ledger.run(
        connection, "SELECT id, pid, pid_started FROM workers WHERE host = ? AND stopped_at IS NULL", host
    ).all()
    return [tuple(row) for row in rows]


def is_ahead(ledger: Ledger, connection: Connection, destination: str, now: int) -> bool:
    """Whether something that waits was recorded in a future that the clock has left, among the next LOOKED_AT that are due.

    A clock that was ahead for less than the time between two sweeps is seen in nothing else.
    """
    future = now + CLOCK_TOLERANCE_MS
    return ledger.run(connection, _AHEAD, destination, future, future, future).first() is not None


def set_back(
    ledger: Ledger, connection: Connection, destinations: Sequence[str], *, now: int, longest_claim_ms: int
) -> int:
    """Moves what was recorded in a future that the clock has left to now: else it would wait until that time comes again.

    A delivery that is new keeps its wait (a hold); one that was tried before is due. Idempotent. Returns how many were moved.
    """
    future = now + CLOCK_TOLERANCE_MS
    moved = 0
    for name in destinations:
        moved += ledger.run(connection, _NEW, now, now, name, future, future).rowcount
        moved += ledger.run(connection, _TRIED, now, name, future, future).rowcount
        ledger.run(
            connection,
            "UPDATE destinations SET rate_next_at = ? WHERE name = ? AND rate_next_at > ?",
            now,
            name,
            future,
        )
        latest_probe = now + PROBE_SECONDS[-1] * 1000
        ledger.run(
            connection,
            "UPDATE destinations SET probe_at = ? WHERE name = ? AND probe_at > ?",
            latest_probe,
            name,
            latest_probe + CLOCK_TOLERANCE_MS,
        )
    latest_claim = now + longest_claim_ms
    statement = "UPDATE deliveries SET claimed_until = ? WHERE claim IS NOT NULL AND claimed_until > ?"
    ledger.run(connection, statement, latest_claim, latest_claim + CLOCK_TOLERANCE_MS)
    return moved


_AHEAD = f"""
  SELECT 1 FROM (
    SELECT id, created_at, attempts FROM deliveries WHERE destination = ? AND due_at > ? AND claim IS NULL
    ORDER BY due_at LIMIT {LOOKED_AT}) n
  WHERE created_at > ?
     OR (attempts > 0 AND EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = n.id AND a.started_at > ? LIMIT 1 OFFSET 0))
  LIMIT 1"""
_NEW = """
  UPDATE deliveries SET due_at = ? + due_at - created_at, created_at = ?
  WHERE destination = ? AND due_at > ? AND created_at > ? AND attempts = 0 AND claim IS NULL"""
_TRIED = """
  UPDATE deliveries SET due_at = ?
  WHERE destination = ? AND due_at > ? AND attempts > 0 AND claim IS NULL
    AND EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = deliveries.id AND a.started_at > ? LIMIT 1 OFFSET 0)"""
