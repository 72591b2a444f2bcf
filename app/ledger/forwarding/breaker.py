"""A destination's brakes as the workers use them: a pause, the breaker that opens after failures in a row, the rate.

The breaker is judged where outcomes are recorded (outcomes.py); by hand one pauses and resumes (brakes.py).
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from app.ledger.audit import note
from app.ledger.engine import Ledger

LONGEST_REASON = 200


BREAKER_FAILURES = 8
"""Transient failures in a row after which a destination is only probed."""
PROBE_SECONDS = (1, 2, 5, 10, 20, 30)
"""Pause before each further probe."""


@dataclass(frozen=True, slots=True)
class DestinationState:
    """A destination's brakes."""

    paused_at: int | None
    paused_reason: str | None
    paused_token: str | None
    failures: int
    probe_at: int | None
    rate_next_at: int

    @property
    def is_open(self) -> bool:
        """The breaker is open: only probes."""
        return self.failures >= BREAKER_FAILURES


def ensure_destination(ledger: Ledger, connection: Connection, name: str, token: str) -> None:
    """Makes the destination's row; a pause for a refused token ends when the token is another one. Idempotent."""
    ledger.run(connection, "INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
    ledger.run(
        connection,
        "UPDATE destinations SET paused_at = NULL, paused_reason = NULL, paused_token = NULL"
        " WHERE name = ? AND paused_token IS NOT NULL AND paused_token <> ?",
        name,
        token,
    )


def is_refused_for_another(ledger: Ledger, connection: Connection, name: str, token: str) -> bool:
    """Whether a destination is paused because it refused another token than this one."""
    statement = "SELECT 1 FROM destinations WHERE name = ? AND paused_token IS NOT NULL AND paused_token <> ?"
    return ledger.run(connection, statement, name, token).first() is not None


def destination_state(ledger: Ledger, connection: Connection, name: str) -> DestinationState:
    row = ledger.run(
        connection,
        "SELECT paused_at, paused_reason, paused_token, failures, probe_at, rate_next_at FROM destinations WHERE name = ?",
        name,
    ).first()
    return DestinationState(*row) if row else DestinationState(None, None, None, 0, None, 0)


def may_probe(ledger: Ledger, connection: Connection, destination: str, state: DestinationState, now: int) -> bool:
    if state.probe_at is not None and state.probe_at > now:
        return False
    flying = ledger.run(
        connection, "SELECT 1 FROM deliveries WHERE claim IS NOT NULL AND destination = ? LIMIT 1", destination
    ).first()
    return flying is None


def within_rate(state: DestinationState, limit: int, now: int, rate: float | None) -> tuple[int, int]:
    """How many of `limit` the rate allows now, and from when the next may be reserved. A second's worth may be saved up."""
    if not rate:
        return limit, state.rate_next_at
    start = max(state.rate_next_at, now - 1000)
    return min(limit, int((now - start) * rate / 1000)), start


def pause(ledger: Ledger, connection: Connection, name: str, reason: str, *, actor: str) -> bool:
    """Stops forwarding to a destination: what is in flight ends, what is due waits. False where it was paused already."""
    ledger.run(connection, "INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
    words = " ".join(reason.replace("\x00", " ").split())[:LONGEST_REASON]
    told = f"{actor}: {words}" if words else f"{actor} paused it"
    changed = ledger.run(
        connection,
        "UPDATE destinations SET paused_at = ?, paused_reason = ?, paused_token = NULL WHERE name = ? AND paused_at IS NULL",
        ledger.now(connection),
        told,
        name,
    ).rowcount
    if changed:
        note(ledger, connection, actor, "pause", f"destination {name}", words)
    return bool(changed)


def resume(ledger: Ledger, connection: Connection, name: str, *, actor: str) -> bool:
    """Ends a pause, whoever began it, and lets a breaker that is open probe at once. False where there is nothing to end."""
    changed = ledger.run(
        connection,
        "UPDATE destinations SET paused_at = NULL, paused_reason = NULL, paused_token = NULL, probe_at = NULL"
        " WHERE name = ? AND paused_at IS NOT NULL",
        name,
    ).rowcount
    if changed:
        note(ledger, connection, actor, "resume", f"destination {name}")
    return bool(changed)
