"""The verdict in a few numbers, for every page: its level, the number of problems, and the counts in the navigation."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.ledger.reading.summary import overview
from app.ledger.reading.summary.problem import Level, Verdict
from app.ledger.reading.summary.problems import Health
from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class Pulse:
    """problems: those that are bad or warn. failed: dead deliveries; parked: events, both up to overview.MOST. refused: requests of
    sources whose refusals are a problem."""

    level: Level | None
    problems: int
    failed: int
    parked: int
    refused: int


def pulse(tx: Tx, health: Health) -> Pulse:
    counts = overview.counts(tx)
    return pulse_of(health.verdict(tx, counts), counts)


def pulse_of(verdict: Verdict, counts: Mapping[str, Mapping[str, int]]) -> Pulse:
    problems = [problem for problem in verdict.problems if problem.level != "note"]
    refused = sum(problem.count or 0 for problem in problems if problem.kind == "refused")
    return Pulse(verdict.level, len(problems), counts["deliveries"]["dead"], counts["events"]["parked"], refused)
