"""What holds a destination back: a pause (manual, or because it rejects the configuration), the breaker, the rate limit.

judging.py decides what outcomes say about a destination's health.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.ledger.audit import note
from app.ledger.transaction import Tx

LONGEST_REASON = 200
BRIDGE = "bridge"
"""The actor of what nobody asked for."""
RESTORED = "restored from the backup of"
"""How the reason of a pause that a restore made begins."""


BREAKER_FAILURES = 8
"""Transient failures in a row that open the breaker."""
PROBE_SECONDS = (1, 2, 5, 10, 20, 30)
"""Pause before each further probe."""
SEVERAL = 3
"""So many different deliveries must be refused, and nothing be taken meanwhile, before that is held against the destination."""
FIRST_RECHECK_MS, LONGEST_RECHECK_MS = 30_000, 300_000
"""How long after a pause for refusals one delivery that was not refused itself is tried, to see whether that is over."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """What a destination refused because of its configuration (401, 403, a redirect) since it last accepted anything."""

    since: int = 0
    """When the first refused attempt began (ms)."""
    ids: Sequence[int] = ()
    """The different deliveries, the first twenty."""
    doubted_at: int | None = None
    """Since when there are SEVERAL, so that deliveries are tried one at a time."""
    probes: int = 0
    """How many of those single ones were refused as well."""

    @staticmethod
    def read(text: str | None) -> "Refusals":
        return Refusals(*json.loads(text)) if text else Refusals()

    def text(self) -> str:
        return json.dumps([self.since, list(self.ids), self.doubted_at, self.probes])


@dataclass(frozen=True, slots=True)
class Mixed:
    """Some deliveries seem to fail for reasons of their own: an accepted delivery closed the open breaker. For a while, deliveries
    are chosen at random, so that bad ones in a row do not look like an outage, and it takes more failures to open it."""

    until: int = 0
    failures: int = 0

    @staticmethod
    def read(text: str | None) -> "Mixed":
        return Mixed(*json.loads(text)) if text else Mixed()

    def text(self) -> str:
        return json.dumps([self.until, self.failures])


@dataclass(frozen=True, slots=True)
class DestinationState:
    """What holds a destination back."""

    paused_at: int | None
    paused_reason: str | None
    paused_token: str | None
    failures: int
    probe_at: int | None
    rate_next_at: int
    taken_at: int | None = None
    """When the newest attempt that it took began (ms, to a second)."""
    taken_print: str | None = None
    """Under which configuration: see Destination.token_print."""
    recheck_at: int | None = None
    refusals: Refusals = field(default_factory=Refusals)
    mixed: Mixed = field(default_factory=Mixed)

    @property
    def is_doubted(self) -> bool:
        """Whether it may refuse everything: deliveries go one at a time until one is accepted, or it is paused."""
        return self.refusals.doubted_at is not None

    def may_recheck(self, now: int) -> bool:
        """Whether a pause for refusals may be tested now. A manual pause never is."""
        return self.paused_token is not None and self.recheck_at is not None and self.recheck_at <= now

    @property
    def is_plain(self) -> bool:
        """Whether nothing holds it back."""
        return not (self.failures or self.refusals.ids or self.mixed.until or self.paused_at is not None)

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open: only probes are sent."""
        return self.failures >= BREAKER_FAILURES


def ensure_destination(tx: Tx, name: str, token: str) -> None:
    """Creates the destination's row. A pause for refusals ends if the configuration changed. Idempotent."""
    tx.run("INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
    if is_refused_for_another(tx, name, token) and end_pause(tx, name, now=tx.now()):
        note(tx, BRIDGE, "resume", f"destination {name}", "its configuration changed")


def is_refused_for_another(tx: Tx, name: str, token: str) -> bool:
    """Whether a destination is paused because it refused deliveries sent with another configuration."""
    statement = "SELECT 1 FROM destinations WHERE name = ? AND paused_token IS NOT NULL AND paused_token <> ?"
    return tx.run(statement, name, token).first() is not None


STATE = (
    "SELECT paused_at, paused_reason, paused_token, failures, probe_at, rate_next_at, taken_at, taken_print, recheck_at,"
    " refused, mixed FROM destinations WHERE name = ?"
)


def destination_state(tx: Tx, name: str) -> DestinationState:
    return state_of(tx.run(STATE, name).all())


def state_of(rows: Sequence[Any]) -> DestinationState:
    """The state from STATE: one row, or none for a destination that was never used."""
    if not rows:
        return DestinationState(None, None, None, 0, None, 0)
    *plain, refused, mixed = rows[0]
    return replace(DestinationState(*plain), refusals=Refusals.read(refused), mixed=Mixed.read(mixed))


def may_probe(tx: Tx, destination: str, state: DestinationState, now: int) -> bool:
    """Whether one delivery may be tried now: none is in flight, and it is time."""
    if state.paused_at is not None:
        if not state.may_recheck(now):
            return False
    elif state.is_open and state.probe_at is not None and state.probe_at > now:
        return False
    flying = tx.run("SELECT 1 FROM deliveries WHERE claim IS NOT NULL AND destination = ? LIMIT 1", destination).first()
    return flying is None


def pause_refused(tx: Tx, name: str, reason: str, token: str, *, now: int) -> None:
    """Pauses a destination that refuses everything under this configuration. An existing pause stays as it is."""
    changed = tx.run(
        "UPDATE destinations SET paused_at = ?, paused_reason = ?, paused_token = ?, recheck_at = ?"
        " WHERE name = ? AND paused_at IS NULL",
        *(now, reason, token, now + FIRST_RECHECK_MS, name),
    ).rowcount
    if changed:
        note(tx, BRIDGE, "pause", f"destination {name}", reason)


def note_recheck(tx: Tx, name: str, state: DestinationState, now: int) -> None:
    """Records that a delivery tests a pause now. The next test comes later each time."""
    wait = min(max(now - (state.paused_at or now), FIRST_RECHECK_MS), LONGEST_RECHECK_MS)
    tx.run("UPDATE destinations SET recheck_at = ? WHERE name = ?", now + wait, name)


def end_pause(tx: Tx, name: str, *, now: int) -> bool:
    """Ends a pause of any kind. Deliveries refused meanwhile are due now, behind those waiting longer. False if there was none."""
    changed = tx.run(
        "UPDATE destinations SET paused_at = NULL, paused_reason = NULL, paused_token = NULL, recheck_at = NULL,"
        " refused = NULL, probe_at = NULL WHERE name = ? AND paused_at IS NOT NULL",
        name,
    ).rowcount
    if changed:
        tx.run(
            "UPDATE deliveries SET due_at = ? WHERE destination = ? AND due_at > ? AND claim IS NULL"
            f" AND ({REFUSED_BEFORE} OR (attempts = 0 AND held = 0))",  # the latter was set aside for a Lead
            *(now, name, now),
        )
    return bool(changed)


REFUSED_BEFORE = "(last_status IN (401, 403) OR last_status BETWEEN 300 AND 399)"
"""An open delivery that was refused, without spending an attempt, when it was last tried."""


def within_rate(state: DestinationState, limit: int, now: int, rate: float | None) -> tuple[int, int]:
    """How many of `limit` the rate allows now, and from when the next may be reserved. Up to one second's worth accumulates."""
    if not rate:
        return limit, state.rate_next_at
    start = max(state.rate_next_at, now - 1000)
    return min(limit, int((now - start) * rate / 1000)), start


def pause(tx: Tx, name: str, reason: str, *, actor: str) -> bool:
    """Stops forwarding to a destination: requests in flight finish, due deliveries wait. False if it was already paused."""
    tx.run("INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
    words = " ".join(reason.replace("\x00", " ").split())[:LONGEST_REASON]
    line = f"{actor}: {words}" if words else f"{actor} paused it"
    changed = tx.run(
        "UPDATE destinations SET paused_at = ?, paused_reason = ?, paused_token = NULL WHERE name = ? AND paused_at IS NULL",
        tx.now(),
        line,
        name,
    ).rowcount
    if changed:
        note(tx, actor, "pause", f"destination {name}", words)
    return bool(changed)


def resume(tx: Tx, name: str, *, actor: str) -> bool:
    """Ends a pause of any kind, and lets an open breaker probe at once. False if there was none."""
    changed = end_pause(tx, name, now=tx.now())
    if changed:
        note(tx, actor, "resume", f"destination {name}")
    return changed
