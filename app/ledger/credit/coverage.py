"""How many Sales carry a click ID, by source and week. Read only, by index and bounded.

A Sale counts as soon as it is recorded; a click ID that arrives while it waits to be sent still counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app import times
from app.ledger.transaction import Tx

MOST = 10_000
"""Of a week, the newest so many Sales are counted."""
WEEKS = 8
WEEK_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Share:
    """Sales, and those of them with a click ID."""

    sales: int = 0
    clicked: int = 0

    @property
    def percent(self) -> int | None:
        """Rounded down, so that 100 means all; None without Sales."""
        return self.clicked * 100 // self.sales if self.sales else None

    def plus(self, other: "Share") -> "Share":
        return Share(self.sales + other.sales, self.clicked + other.clicked)


NO_SALES = Share()


@dataclass(frozen=True, slots=True)
class Week:
    """A week from Monday 0:00 UTC. start, end: ISO."""

    start: str
    end: str
    by_source: dict[str, Share]

    @property
    def total(self) -> Share:
        total = NO_SALES
        for share in self.by_source.values():
            total = total.plus(share)
        return total


@dataclass(frozen=True, slots=True)
class Lately:
    """The last 7 days beside the 7 days before. change: in percentage points; None if either had no Sale."""

    now: Share
    before: Share

    @property
    def change(self) -> int | None:
        now, before = self.now.percent, self.before.percent
        return None if now is None or before is None else now - before


def weeks(tx: Tx, count: int = WEEKS) -> list[Week]:
    """The last `count` weeks, the present one first."""
    today = datetime.fromtimestamp(tx.now() / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = int((today - timedelta(days=today.weekday())).timestamp() * 1000)
    shown = []
    for number in range(count):
        start = monday - number * WEEK_MS
        by_source = _between(tx, start, start + WEEK_MS)
        shown.append(Week(times.iso(start) or "", times.iso(start + WEEK_MS) or "", by_source))
    return shown


def click_share(tx: Tx) -> Lately:
    now = tx.now() + 1
    return Lately(_total(_between(tx, now - WEEK_MS, now)), _total(_between(tx, now - 2 * WEEK_MS, now - WEEK_MS)))


def sources_in(weeks: Sequence[Week]) -> list[str]:
    return sorted({source for week in weeks for source in week.by_source})


def _total(by_source: dict[str, Share]) -> Share:
    return Week("", "", by_source).total


def _between(tx: Tx, start: int, end: int) -> dict[str, Share]:
    rows = tx.run(
        "SELECT source, COUNT(*), SUM(clicked) FROM (SELECT source, clicked FROM conversions WHERE kind = 'sale'"
        f" AND clicked IS NOT NULL AND created_at >= ? AND created_at < ? ORDER BY created_at DESC LIMIT {MOST}) n"
        " GROUP BY source ORDER BY source",
        start,
        end,
    )
    return {source: Share(int(sales), int(clicked)) for source, sales, clicked in rows.all()}
