"""One problem, and the verdict over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.ledger.reading.money.stake import NOTHING, Stake
from app.ledger.reading.summary.overview import MOST
from app.times import iso

Level = Literal["bad", "warn", "note"]
"""bad: conversions are not accepted, not forwarded, or lost until somebody acts. warn: something needs attention. note: good to
know; everything works."""
LEVELS: tuple[Level, ...] = ("bad", "warn", "note")


@dataclass(frozen=True, slots=True)
class Problem:
    """text: a sentence. remedy: what to do. command: how to do it on the command line. path: the page about it, and the words
    of its link. since: ms."""

    kind: str
    subject: str
    level: Level
    text: str
    remedy: str
    path: str
    link: str
    since: int | None = None
    count: int | None = None
    command: str = ""
    stake: Stake = NOTHING
    """The money of the deliveries that it is about."""

    def as_json(self) -> dict[str, Any]:
        """As the API answers it."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "level": self.level,
            "text": self.text,
            "remedy": self.remedy,
            "command": self.command,
            "path": self.path,
            "since": iso(self.since),
            "count": self.count,
            "money": self.stake.as_json(),
            "money_is_capped": self.stake.is_capped,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """level: that of the worst problem; None if none is bad or warn."""

    level: Level | None
    headline: str
    problems: Sequence[Problem]

    def as_json(self) -> dict[str, Any]:
        """As the API answers it."""
        problems = [problem.as_json() for problem in self.problems]
        return {"level": self.level, "headline": self.headline, "problems": problems}


PUBLIC: dict[str, str] = {
    "no source": "no source is configured",
    "dead": "deliveries failed permanently",
    "retrying": "deliveries are retried",
    "parked": "events are parked",
    "refused": "requests of a source are refused",
    "quarantined": "refused requests are in quarantine",
    "silent": "a source is silent",
    "stranded": "deliveries wait for a destination that is not configured",
    "doubted": "a destination refuses deliveries",
    "unsent alerts": "alerts could not be sent",
    "live in sandbox": "real conversions went to the sandbox",
    "counted twice": "a purchase was sent twice",
    "conflicts": "events contradict each other",
}
"""Problems in words for strangers. Those that keep the bridge from working are not among them: see app/web/public/probes.py."""


def counted(number: int, singular: str, plural: str) -> str:
    more = "+" if number >= MOST else ""
    return f"{number:,}{more} {singular if number == 1 else plural}"


def lasting(seconds: float) -> str:
    for size, unit, name in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= size:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
