"""How the bridge is doing: what runs, what came in, what went out, and what is wrong.

One answer for the Overview page, the API and `bridge status`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.ledger.reading.money.stake import Stake
from app.ledger.reading.summary import overview, stats
from app.ledger.reading.summary.problem import Verdict
from app.ledger.reading.summary.problems import Health
from app.ledger.transaction import Tx

AT_STAKE = ("dead", "retrying", "pending")
UNUSED = {"paused_at": None, "paused_reason": None, "failures": 0, "probe_at": None, "is_open": False}
"""A destination that no worker has served yet."""


@dataclass(frozen=True, slots=True)
class Status:
    """counts: deliveries by status and parked events, each up to overview.MOST. stakes: the money of those that are dead,
    retrying or pending. oldest: the oldest open delivery. destinations: the configured ones, with their
    pauses and open deliveries. sources: the last event of each that sent something."""

    verdict: Verdict
    counts: dict[str, dict[str, int]]
    stakes: dict[str, Stake]
    oldest_id: int | None
    oldest: str | None
    oldest_seconds: float | None
    timing: dict[str, Any]
    workers_alive: int
    destinations: list[dict[str, Any]]
    sources: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return {
            **self.verdict.as_json(),
            "workers_alive": self.workers_alive,
            "deliveries": self.counts["deliveries"],
            "money": {name: stake.as_json() for name, stake in self.stakes.items()},
            "parked_events": self.counts["events"]["parked"],
            "oldest_waiting_id": self.oldest_id,
            "oldest_waiting_seconds": self.oldest_seconds,
            "delivery_seconds": {"p50": self.timing["p50"], "p95": self.timing["p95"]},
            "destinations": self.destinations,
            "sources": self.sources,
        }


def status(tx: Tx, health: Health, destinations: Sequence[str], sources: Iterable[str]) -> Status:
    """destinations, sources: the names of the configured ones."""
    now, counts = tx.now(), overview.counts(tx)
    oldest_id, oldest = overview.oldest_waiting(tx)
    return Status(
        verdict=health.verdict(tx, counts),
        counts=counts,
        stakes={name: health.stakes.of_status(tx, name, counts["deliveries"][name]) for name in AT_STAKE},
        oldest_id=oldest_id,
        oldest=oldest,
        oldest_seconds=overview.seconds_since(oldest, now),
        timing=overview.timing(tx),
        workers_alive=len(stats.workers_alive(tx)),
        destinations=destination_states(tx, destinations, health.shadows),
        sources=overview.last_events(tx, sources),
    )


def summary(tx: Tx, health: Health, destinations: Sequence[str], sources: Iterable[str]) -> dict[str, Any]:
    """The status with what happened within the last 24 hours, as the API and `bridge status --json` answer it."""
    return {**status(tx, health, destinations, sources).as_json(), "last_day": overview.last_day(tx)}


def destination_states(tx: Tx, names: Sequence[str], shadows: Collection[str] = ()) -> list[dict[str, Any]]:
    """The pauses of these destinations, whether a worker has served each yet (`is_used`), its mode (shadow for those of `shadows`),
    and how many deliveries wait for it."""
    states = {state["name"]: state for state in stats.destinations(tx)}
    return [
        {
            "name": name,
            **UNUSED,
            **states.get(name, {}),
            "is_used": name in states,
            "mode": "shadow" if name in shadows else "live",
            "waiting": overview.waiting(tx, name),
        }
        for name in names
    ]
