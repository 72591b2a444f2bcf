"""The first page: is it working?"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from cachetools import TTLCache
from flask import Blueprint, render_template, request

from app.ledger.engine import look
from app.ledger.reading import deliveries as reading_deliveries
from app.ledger.reading import filters
from app.ledger.reading.summary import overview as lately
from app.ledger.reading.summary.pulse import pulse_of
from app.ledger.reading.summary.status import status
from app.ledger.transaction import Tx
from app.web.auth import login_required
from app.web.pages.setup import steps_to_show
from app.web.services import Parts

KEPT_SECONDS = 30.0
LAST_SHOWN = 8
REASONS_SHOWN = 5
DEAD = filters.Filter(statuses=("dead",))
CHART_WIDTH, HALF_HEIGHT = 720, 56


class AnswerCache:
    """Caches answers for half a minute: those about hours that are over. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._answers: TTLCache[Any, Any] = TTLCache(1024, KEPT_SECONDS, clock)
        self._lock = threading.Lock()

    def get(self, key: Any, ask: Callable[[], Any]) -> Any:
        with self._lock:
            cache = self._answers.get(key)
        if cache is None:
            cache = ask()
            with self._lock:
                self._answers[key] = cache
        return cache


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger, cache = parts.ledger, AnswerCache()
    names = [one.name for one in parts.destinations]

    @blueprint.get("/")
    @login_required
    def overview() -> str:
        span = request.args.get("span")
        span = span if span in lately.SPANS else "day"
        with look(ledger) as tx:
            found = status(tx, parts.health, names, parts.sources)
            bars = traffic(tx, span, cache)
            deliveries = reading_deliveries.deliveries(tx, limit=LAST_SHOWN)
            dead = reading_deliveries.groups(tx, DEAD, parts.sources, REASONS_SHOWN)
            steps = steps_to_show(tx, parts)
        parts.pulse.keep(pulse_of(found.verdict, found.counts))
        return render_template(
            "overview.html",
            steps=steps,
            status=found,
            verdict=found.verdict,
            chart=chart(bars) | {"bar_seconds": lately.SPANS[span][0] / lately.SPANS[span][1]},
            span=span,
            spans=lately.SPANS,
            deliveries=deliveries,
            dead=dead,
            seen=found.sources,
            sources=parts.intake.configured,
            most=lately.MOST,
            rates={one.name: one.rate for one in parts.destinations},
        )


def traffic(tx: Tx, span: str, cache: AnswerCache) -> list[dict[str, Any]]:
    """The bars of a chart."""
    seconds, count = lately.SPANS[span]
    starts = lately.bar_starts(tx.now(), seconds, count)
    size = starts[1] - starts[0]
    over = [cache.get((span, start), partial(lately.bar, tx, start, start + size)) for start in starts[:-1]]
    return [*over, lately.bar(tx, starts[-1], starts[-1] + size)]


def chart(bars: list[dict[str, Any]]) -> dict[str, Any]:
    """What the chart's SVG needs: `bars` with x and the heights in, out and bad, their width, the highest count, and totals."""
    highest = max(1, *(max(one["events"], one["delivered"] + one["dead"]) for one in bars))
    width = CHART_WIDTH / len(bars)

    def height(count: int) -> float:
        return round(float(max(count / highest * HALF_HEIGHT, 1.5 if count else 0)), 2)

    drawn = []
    for index, one in enumerate(bars):
        heights = {"in": height(one["events"]), "out": height(one["delivered"]), "bad": height(one["dead"])}
        drawn.append({**one, **heights, "x": round(index * width, 2)})
    totals = {name: sum(one[name] for one in bars) for name in ("events", "delivered", "dead")}
    return {"bars": drawn, "width": round(width * 0.8, 2), "highest": highest, **totals}
