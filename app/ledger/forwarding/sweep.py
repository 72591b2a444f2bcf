"""What sweepers do in the ledger: heartbeats, abandoned claims, and a clock that was set back."""

from collections.abc import Sequence

from app.ledger import tables
from app.ledger.forwarding.breaker import PROBE_SECONDS
from app.ledger.forwarding.outcomes import ATTEMPT
from app.ledger.transaction import Tx

LOST = "the worker ended before it knew the answer; this attempt may or may not have reached the destination"
CLOCK_TOLERANCE_MS = 2000
"""Machines' clocks differ by less, and what is further ahead of the ledger's clock was written before it was set back."""
LOOKED_AT = 1000
Machine = tuple[str, str, str]
"""Host name, boot id, PID namespace; "" for what is unknown (app/stack/processes.py)."""


def expired_claims(tx: Tx, now: int) -> list[tuple[int, str, int, int]]:
    """Claims that ran out: (delivery id, claim, attempts, claimed_until)."""
    rows = tx.run(
        "SELECT id, claim, attempts, claimed_until FROM deliveries WHERE claim IS NOT NULL AND claimed_until <= ? LIMIT 500",
        now,
    ).all()
    return [tuple(row) for row in rows]


def claims_of(tx: Tx, worker_ids: Sequence[int]) -> list[tuple[int, str, int, int]]:
    """Claims of these workers, expired or not."""
    claims = []
    for identity, token, attempts, until in tx.run(
        "SELECT id, claim, attempts, claimed_until FROM deliveries WHERE claim IS NOT NULL"
    ).all():
        if int(token.split(".", 1)[0]) in worker_ids:
            claims.append((identity, token, attempts, until))
    return claims


def take_over(tx: Tx, claims: Sequence[tuple[int, str, int, int]], *, now: int) -> int:
    """Makes deliveries of claims that nobody will finish due again. What their sender did is unknown, and recorded so."""
    columns = (("id", "bigint"), ("claim", "text"), ("due_at", "bigint"), ("error", "text"))
    taken = tx.run_given(_TAKE_OVER, columns, [(identity, token, now, LOST) for identity, token, _, _ in claims])
    rows = [(identity, number, "unknown", 0, now, 0, None, LOST, None, None) for identity, number in taken]
    tx.insert(tables.attempts, ATTEMPT, rows)
    return len(rows)


_TAKE_OVER = (
    "UPDATE deliveries SET claim = NULL, claimed_until = NULL, attempts = deliveries.attempts + 1, status = 'retrying',"
    " due_at = given.due_at, last_error = given.error FROM given"
    " WHERE deliveries.id = given.id AND deliveries.claim = given.claim RETURNING deliveries.id, deliveries.attempts"
)


def register_worker(tx: Tx, machine: Machine, pid: int, pid_started: str, now: int) -> int:
    """Creates this worker's row; its ID begins the tokens of its claims."""
    statement = (
        "INSERT INTO workers (host, boot_id, pid_namespace, pid, pid_started, started_at, heartbeat_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id"
    )
    return int(tx.run(statement, *machine, pid, pid_started, now, now).scalar_one())


def heartbeat(tx: Tx, worker_id: int, now: int) -> None:
    """Records that this worker runs. Also clears the mark of one that was taken for stopped."""
    tx.run("UPDATE workers SET heartbeat_at = ?, stopped_at = NULL WHERE id = ?", now, worker_id)


def stop_worker(tx: Tx, worker_id: int, now: int) -> None:
    tx.run("UPDATE workers SET stopped_at = ? WHERE id = ? AND stopped_at IS NULL", now, worker_id)


def workers_of(tx: Tx, machine: Machine) -> list[tuple[int, int, str]]:
    """Workers that run on this machine, as far as the ledger knows: (id, pid, pid_started). Only of these does a missing process
    say anything: the pid of a worker elsewhere means nothing here, even where the host name is the same."""
    if not all(machine):
        return []
    rows = tx.run(
        "SELECT id, pid, pid_started FROM workers"
        " WHERE host = ? AND boot_id = ? AND pid_namespace = ? AND stopped_at IS NULL",
        *machine,
    ).all()
    return [tuple(row) for row in rows]


def silent_workers(tx: Tx, before: int) -> list[int]:
    """Workers of any machine whose last heartbeat was before `before` (ms) and that did not say that they stopped. Their claims
    end by time alone: a worker whose heart cannot beat may still send."""
    statement = "SELECT id FROM workers WHERE stopped_at IS NULL AND heartbeat_at < ?"
    return list(tx.run(statement, before).scalars())


def is_ahead(tx: Tx, destination: str, now: int) -> bool:
    """Whether something that waits was recorded in a future that the clock has left, among the next LOOKED_AT that are due.

    A clock that was ahead for less than the time between two sweeps is seen in nothing else.
    """
    future = now + CLOCK_TOLERANCE_MS
    return tx.run(_AHEAD, destination, future, future, future).first() is not None


def set_back(tx: Tx, destinations: Sequence[str], *, now: int, longest_claim_ms: int) -> int:
    """Moves what was recorded in a future that the clock has left to now: else it would wait until that time comes again.

    A delivery that is new keeps its wait (a hold); one that was tried before is due. Idempotent. Returns how many were moved.
    """
    future = now + CLOCK_TOLERANCE_MS
    moved = 0
    for name in destinations:
        moved += tx.run(_NEW, now, now, name, future, future).rowcount
        moved += tx.run(_TRIED, now, name, future, future).rowcount
        tx.run(
            "UPDATE destinations SET rate_next_at = ? WHERE name = ? AND rate_next_at > ?",
            now,
            name,
            future,
        )
        latest_probe = now + PROBE_SECONDS[-1] * 1000
        tx.run(
            "UPDATE destinations SET probe_at = ? WHERE name = ? AND probe_at > ?",
            latest_probe,
            name,
            latest_probe + CLOCK_TOLERANCE_MS,
        )
    latest_claim = now + longest_claim_ms
    statement = "UPDATE deliveries SET claimed_until = ? WHERE claim IS NOT NULL AND claimed_until > ?"
    tx.run(statement, latest_claim, latest_claim + CLOCK_TOLERANCE_MS)
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
