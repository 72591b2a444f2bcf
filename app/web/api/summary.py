"""How the bridge is doing: status, counts, and the audit log."""

from typing import Annotated, Any

from app.ledger.audit import audit_page
from app.ledger.engine import look
from app.ledger.reading.summary.stats import stats as stats_of
from app.ledger.reading.summary.status import summary
from app.ledger.traffic.histogram import percentile
from app.ledger.traffic.series import Bar, series
from app.ledger.traffic.spans import SPANS, edges
from app.times import iso
from app.web.api.routes import Routes
from app.web.api.schemas import AuditPage
from app.web.api.state_schemas import BridgeStatus, Stats, Traffic
from app.web.lists.acts import AuditLines
from app.web.params import OneOf, Paging, Request
from app.web.services import Parts

ROUTES = Routes()


class AuditQuery(AuditLines, Paging):
    """A filter and a page."""


@ROUTES.get("/status")
def status(parts: Parts) -> BridgeStatus:
    """Get what runs, what came in, what went out, and what is wrong."""
    names = [destination.name for destination in parts.destinations]
    with look(parts.ledger) as tx:
        return BridgeStatus.model_validate(summary(tx, parts.health, names, parts.sources))


@ROUTES.get("/stats")
def stats(parts: Parts) -> Stats:
    """Count deliveries and events, with workers, destinations and what is wrong."""
    with look(parts.ledger) as tx:
        return Stats.model_validate({**stats_of(tx, parts.counts), **parts.health.verdict(tx).as_json()})


class TrafficQuery(Request):
    """How far back."""

    span: Annotated[str, OneOf(tuple(SPANS))] = "day"


@ROUTES.get("/traffic")
def traffic(parts: Parts, query: TrafficQuery) -> Traffic:
    """Count events received and deliveries recorded over time, in UTC: what the charts show."""
    span = SPANS[query.span]
    with look(parts.ledger) as tx:
        now = tx.now()
        bars = series(tx, edges(now, span), span.size, now)
    return Traffic.model_validate({"bars": [bar_of(bar) for bar in bars]})


def bar_of(bar: Bar) -> dict[str, Any]:
    sent = {
        name: {
            "by_status": dict(results.counts),
            "p50": percentile(results.times, 0.5),
            "p95": percentile(results.times, 0.95),
        }
        for name, results in bar.part.sent.items()
    }
    return {
        "since": iso(bar.start),
        "until": iso(bar.end),
        "received": dict(bar.part.events),
        "sent": sent,
        "is_whole": bar.is_whole,
    }


@ROUTES.get("/audit")
def audit(parts: Parts, query: AuditQuery) -> AuditPage:
    """List changes and who made them, newest first. Many changes at once are one line."""
    with look(parts.ledger) as tx:
        page = audit_page(tx, query.as_filter(), before=query.before, limit=query.size)
    return AuditPage.model_validate({"audit": page.lines, "next_before": page.next_before})
