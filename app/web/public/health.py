"""/healthz, /readyz, /statusz and /metrics: for machines, counts only."""

import hmac
from collections.abc import Iterator

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import Unauthorized

from app.ledger.alerting.incidents import open_incidents
from app.ledger.alerting.notifications import count_unsent
from app.ledger.alerting.refusals import refusals
from app.ledger.engine import Ledger, look
from app.ledger.metrics import MeasureKeeper, read_pools, read_series
from app.ledger.reading.summary.stats import CountCache, backlogs, claims, stats
from app.ledger.transaction import Tx
from app.telemetry.build import build
from app.web.public.probes import Probes

DAY_MS = 86_400_000


class LedgerCollector(Collector):
    """Metrics of the ledger, read at each scrape."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._counts = ledger, CountCache()

    def collect(self) -> Iterator[Metric]:
        ledger = self._ledger
        with look(ledger) as tx:
            totals = stats(tx, self._counts)
            refused = refusals(tx, None, tx.now() - DAY_MS)
            alerts = open_incidents(tx)
            unsent = count_unsent(tx)
            counted, pools, now = list(_counted(tx)), read_pools(tx, tx.now()), tx.now()
            backlog = self._counts.get("backlog", lambda: backlogs(tx, now))
            claimed = claims(tx)
        yield from counted
        built = build()
        info = GaugeMetricFamily(
            "bridge_build_info", "Version and source revision of what answers.", labels=list(built)
        )
        info.add_metric(list(built.values()), 1)
        yield info
        waiting = GaugeMetricFamily(
            "bridge_backlog", "Deliveries that are due and not claimed.", labels=["destination"]
        )
        flying = GaugeMetricFamily("bridge_claims", "Deliveries that a worker holds.", labels=["destination"])
        for name in sorted({row["name"] for row in totals["destinations"]} | backlog.keys() | claimed.keys()):
            waiting.add_metric([name], backlog.get(name, 0))
            flying.add_metric([name], claimed.get(name, 0))
        yield waiting
        yield flying
        pool = GaugeMetricFamily(
            "bridge_database_connections",
            "Database connections of processes that were busy within a minute.",
            labels=["role", "state"],
        )
        for role, state, number in pools:
            pool.add_metric([role, state], number)
        yield pool
        deliveries = GaugeMetricFamily("bridge_deliveries", "Deliveries by status.", labels=["status"])
        for status, count in totals["deliveries"].items():
            deliveries.add_metric([status], count)
        yield deliveries
        events = GaugeMetricFamily("bridge_events", "Events by outcome.", labels=["outcome"])
        for outcome, count in totals["events"].items():
            events.add_metric([outcome], count)
        yield events
        yield GaugeMetricFamily("bridge_event_repeats", "Events received again.", value=totals["repeats"])
        yield GaugeMetricFamily(
            "bridge_workers_alive", "Workers with a fresh heartbeat.", value=totals["workers_alive"]
        )
        yield GaugeMetricFamily(
            "bridge_oldest_due_seconds",
            "How long the oldest due delivery has waited.",
            value=totals["oldest_due_seconds"] or 0,
        )
        paused = GaugeMetricFamily(
            "bridge_destination_paused", "1 where a destination is paused.", labels=["destination"]
        )
        tripped = GaugeMetricFamily(
            "bridge_destination_breaker_open", "1 where a destination is only probed.", labels=["destination"]
        )
        for destination in totals["destinations"]:
            paused.add_metric([destination["name"]], 1 if destination["paused_at"] else 0)
            tripped.add_metric([destination["name"]], 1 if destination["is_open"] else 0)
        yield paused
        yield tripped
        refusal = GaugeMetricFamily(
            "bridge_refusals", "Requests refused within the last day.", labels=["source", "reason"]
        )
        for source, reasons in refused.items():
            for reason, count in reasons.items():
                refusal.add_metric([source, reason], count)
        yield refusal
        yield GaugeMetricFamily("bridge_alerts_open", "Troubles that last.", value=len(alerts))
        yield GaugeMetricFamily("bridge_alerts_unsent", "Alerts that could not be sent yet.", value=unsent)


class Metrics:
    """The counts of all processes beside the ledger's numbers: the same whichever process answers."""

    def __init__(self, ledger: Ledger, keeper: MeasureKeeper) -> None:
        self._registry = CollectorRegistry()
        self._keeper = keeper
        self._registry.register(LedgerCollector(ledger))

    def text(self) -> bytes:
        """Raises LedgerUnavailable."""
        self._keeper.flush()
        return generate_latest(self._registry)


def _counted(tx: Tx) -> Iterator[Metric]:
    """The counters and histograms of app/telemetry/measures.py."""
    for metric, many in read_series(tx).items():
        if metric.buckets:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for series in many:
                histogram.add_metric(series.labels, series.buckets, series.seconds)
            yield histogram
            continue
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for series in many:
            counter.add_metric(series.labels, series.value)
        yield counter


def create_blueprint(probes: Probes, metrics: Metrics, metrics_token: str | None) -> Blueprint:
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        problems = probes.ledger()
        degraded = probes.redis() if problems else probes.others()
        response = jsonify(status="not ready" if problems else "ready", problems=problems, degraded=degraded)
        response.status_code = 503 if problems else 200
        return response

    @blueprint.get("/statusz")
    def statusz() -> Response:
        ledger = probes.ledger()
        problems = [*ledger, *(probes.redis() if ledger else probes.others())]
        warnings = [] if ledger else probes.warnings()
        response = jsonify(status="not working" if problems else "working", problems=problems, warnings=warnings)
        response.status_code = 503 if problems else 200
        return response

    @blueprint.get("/metrics")
    def show_metrics() -> Response:
        if metrics_token is not None:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(token.encode("utf-8", "replace"), metrics_token.encode()):
                raise Unauthorized("send Authorization: Bearer METRICS_TOKEN")
        return Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return blueprint
