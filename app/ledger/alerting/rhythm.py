"""How often a source usually sends something, and whether it has been silent for longer than that."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from app.config.bridge_toml import AlertTable
from app.ledger.alerting.conditions import LEAST_EVENTS, usual_gap
from app.ledger.reading.where import OF_SOURCE
from app.ledger.transaction import Tx

SAMPLE = 100
"""So many of the newest events say how often it sends."""


@dataclass(frozen=True, slots=True)
class Silence:
    """seconds: since its last event. usual_seconds: the usual time between two; None where too little is known. is_unusual: much
    longer than its longest usual pause, as the alert `silent` judges it."""

    seconds: float
    usual_seconds: float | None  # noqa: V107 - read by the page
    is_unusual: bool


def silence(tx: Tx, source: str, rules: AlertTable, now: int) -> Silence | None:
    """How long the source has been silent; None if it never sent anything. now: ms."""
    newest = f"SELECT received_at FROM events WHERE {OF_SOURCE} ORDER BY id DESC LIMIT {SAMPLE}"
    times = [int(received_at) for received_at in tx.run(newest, source, source).scalars()]
    if not times:
        return None
    gaps = [later - earlier for later, earlier in pairwise(times)]
    usual = median(gaps) / 1000 if len(times) >= LEAST_EVENTS else None
    since, floor = now - times[0], int(rules.silence_floor_minutes * 60_000)
    is_unusual = False
    if since >= rules.silence_factor * floor and source not in rules.not_sources:
        longest = usual_gap(tx, source, floor)
        is_unusual = longest is not None and since >= rules.silence_factor * longest
    return Silence(max(0, since) / 1000, usual, is_unusual)
