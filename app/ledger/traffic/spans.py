"""How far back a chart reaches, and where its bars begin: on round times of a time zone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from app.ledger.traffic.tally import HOUR_MS

MINUTE_MS = 60_000
DAY_HOURS = 24


@dataclass(frozen=True, slots=True)
class Span:
    """`bars` bars of `minutes` each, the last of which is not over. title: as in "the last 6 hours"."""

    title: str
    bars: int
    minutes: int

    @property
    def size(self) -> int:
        """The size of the parts that are counted (ms). Bars of more than an hour are built from hours."""
        return min(self.minutes * MINUTE_MS, HOUR_MS)


SPANS = {
    "hour": Span("hour", 30, 2),
    "6h": Span("6 hours", 36, 10),
    "day": Span("day", 24, 60),
    "week": Span("week", 28, 6 * 60),
    "30d": Span("30 days", 30, DAY_HOURS * 60),
    "90d": Span("90 days", 90, DAY_HOURS * 60),
}


def edges(now: int, span: Span, zone: tzinfo = UTC) -> list[int]:
    """Where bars begin (ms), oldest first, and where the last one ends. Bars of a day begin at midnight in `zone`, those of six
    hours at 0, 6, 12 and 18. Counts are kept by the hour of UTC: where a zone has half hours, bars begin on the hour before."""
    size = span.minutes * MINUTE_MS
    if span.minutes <= 60:
        last = now // size * size
        return [last - (span.bars - 1 - n) * size for n in range(span.bars + 1)]
    hours = span.minutes // 60
    local = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).replace(tzinfo=None)
    last_local = local.replace(hour=local.hour // hours * hours, minute=0, second=0, microsecond=0)
    moments = [last_local + timedelta(hours=hours * (n - span.bars + 1)) for n in range(span.bars + 1)]
    return [int(moment.replace(tzinfo=zone).timestamp() * 1000) // HOUR_MS * HOUR_MS for moment in moments]
