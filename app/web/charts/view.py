"""The charts of the Overview: events received, deliveries by status, time to deliver, and success rate."""

from collections.abc import Sequence
from datetime import tzinfo

from app.ledger.traffic.histogram import percentile
from app.ledger.traffic.series import Bar, PartsCache, series
from app.ledger.traffic.spans import SPANS, Span, edges
from app.ledger.traffic.tally import Sent
from app.ledger.transaction import Tx
from app.model import STATUSES
from app.times import iso
from app.web.charts.draw import Drawn, chart
from app.web.charts.scale import Scale, seconds_scale, short, whole_scale
from app.web.filters import share, span

CONVERSIONS = ("sale", "lead")
RECEIVED = {
    "conversions": CONVERSIONS,
    "duplicates": ("duplicate",),
    "ignored": ("ignored",),
    "parked": ("parked",),
    "pending": ("pending",),
}
"""Outcomes of events by what the legend calls them. They add up to all that was received."""
ALWAYS = ("delivered", "pending", "retrying", "dead")
"""Statuses that the legend has even where there is none."""
OUTCOME_OF = {"duplicates": "duplicate", "ignored": "ignored", "parked": "parked", "pending": "pending"}
TALL, LOW = 190, 150


def charts_of(tx: Tx, span_name: str, destination: str, zone: tzinfo, cache: PartsCache) -> Drawn:
    """All charts of a span, those of deliveries for one destination."""
    chosen = SPANS[span_name]
    now = tx.now()
    bars = series(tx, edges(now, chosen, zone), chosen.size, now, cache)
    return draw(bars, span_name, chosen, destination, zone)


def draw(bars: Sequence[Bar], name: str, chosen: Span, destination: str, zone: tzinfo) -> Drawn:
    received = [received_of(bar) for bar in bars]
    sent = [bar.part.sent[destination] if destination in bar.part.sent else Sent() for bar in bars]
    every = Sent()
    for results in sent:
        every.add(results.counts, results.times)
    statuses = [status for status in STATUSES if status in ALWAYS or every.counts.get(status)]
    totals = {key: sum(outcomes[key] for outcomes in received) for key in RECEIVED}
    return {
        "span": name,
        "title": chosen.title,
        "destination": destination,
        "zone": str(zone),
        "query": f"since={iso(bars[0].start)}&until={iso(bars[-1].end)}",
        "received": _received(bars, received, zone),
        "received_total": sum(totals.values()),
        "received_keys": [{"name": key, "count": n, "value": OUTCOME_OF.get(key)} for key, n in totals.items()],
        "sent": _sent(bars, sent, statuses, zone),
        "sent_total": sum(every.counts.values()),
        "sent_keys": [{"name": status, "count": every.counts.get(status, 0), "value": status} for status in statuses],
        "times": _times(bars, sent, zone),
        "success": _success(bars, sent, zone),
        "p50": percentile(every.times, 0.5),
        "p95": percentile(every.times, 0.95),
        "share": success_of(every),
        "is_whole": all(bar.is_whole for bar in bars),
    }


def received_of(bar: Bar) -> dict[str, int]:
    return {name: sum(bar.part.events.get(outcome, 0) for outcome in outcomes) for name, outcomes in RECEIVED.items()}


def success_of(sent: Sent) -> float | None:
    """The share delivered among final deliveries; None if there are none."""
    delivered, dead = sent.counts.get("delivered", 0), sent.counts.get("dead", 0)
    return delivered / (delivered + dead) if delivered + dead else None


def _received(bars: Sequence[Bar], counts: Sequence[dict[str, int]], zone: tzinfo) -> Drawn:
    highest = max(sum(numbers.values()) for numbers in counts)
    texts = [
        (
            f"{sum(numbers.values()):,} received = " + " + ".join(f"{n:,} {name}" for name, n in numbers.items()),
            [f"{sum(numbers.values()):,}", *(f"{n:,}" for n in numbers.values())],
        )
        for numbers in counts
    ]
    columns = ("received", *RECEIVED)
    scale = whole_scale(highest)
    return chart("received", bars, scale, zone, height=TALL, unit=short, columns=columns, stacks=counts, texts=texts)


def _sent(bars: Sequence[Bar], sent: Sequence[Sent], statuses: Sequence[str], zone: tzinfo) -> Drawn:
    counts = [{status: results.counts.get(status, 0) for status in statuses} for results in sent]
    texts = [
        (
            f"{sum(numbers.values()):,} deliveries = " + " + ".join(f"{n:,} {name}" for name, n in numbers.items()),
            [f"{sum(numbers.values()):,}", *(f"{n:,}" for n in numbers.values())],
        )
        for numbers in counts
    ]
    scale, columns = whole_scale(max(sum(numbers.values()) for numbers in counts)), ("deliveries", *statuses)
    return chart("sent", bars, scale, zone, height=TALL, unit=short, columns=columns, stacks=counts, texts=texts)


def _times(bars: Sequence[Bar], sent: Sequence[Sent], zone: tzinfo) -> Drawn:
    middle = [percentile(results.times, 0.5) for results in sent]
    high = [percentile(results.times, 0.95) for results in sent]
    texts = [
        (
            f"half within {span(p50)}, 95 % within {span(p95)}" if p50 is not None else "nothing delivered",
            [span(p50), span(p95)],
        )
        for p50, p95 in zip(middle, high, strict=True)
    ]
    scale = seconds_scale(max((seconds for seconds in high if seconds is not None), default=1.0))
    return chart(
        "times",
        bars,
        scale,
        zone,
        height=LOW,
        unit=_duration,
        columns=("p50", "p95"),
        lines={"p95": high, "p50": middle},
        texts=texts,
    )


def _success(bars: Sequence[Bar], sent: Sequence[Sent], zone: tzinfo) -> Drawn:
    shares = [success_of(results) for results in sent]
    texts = [
        (
            "nothing delivered or dead" if ratio is None else f"{share(ratio)} delivered",
            ["–" if ratio is None else share(ratio)],
        )
        for ratio in shares
    ]
    lines = {"share": [None if ratio is None else ratio * 100 for ratio in shares]}
    return chart(
        "success",
        bars,
        Scale(100, 25),
        zone,
        height=LOW,
        unit=lambda value: f"{value:g} %",
        columns=("delivered",),
        lines=lines,
        texts=texts,
    )


def _duration(seconds: float) -> str:
    """A duration short enough for an axis: 250 ms, 1.5 s, 15 min, 2 h."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g} ms"
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds else "0"
