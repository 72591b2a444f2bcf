"""Pages and lists over a ledger of a million deliveries: how long the slowest takes."""

import statistics
import sys
import time
from collections.abc import Iterator

import requests

from app.ledger.traffic.spans import SPANS
from bench import year
from bench.parts import Database, Parts
from bench.table import Row, number

AIM_MS = 200.0
PASSWORD = "of the benchmark"  # these two as bench/parts.py sets them
API_TOKEN = "token-of-the-benchmark"
API = {"Authorization": f"Bearer {API_TOKEN}"}
SECRETS = {"TYPEFORM_WEBHOOK_SECRET": "secret of the benchmark", "DESTINATION_URL": "https://destination.example"}


def measure(
    parts: Parts, *, rows: int, rounds: int, databases: tuple[Database, ...] = ("SQLite", "PostgreSQL")
) -> Iterator[Row]:
    """Every page is asked `rounds` times in turn, and once before that."""
    for database in databases:
        url = parts.database(database)
        year.fill(url, rows, lambda line: print(f"         {line}", file=sys.stderr, flush=True), counts_hours=True)
        web, port = parts.web(url, DESTINATION_TOKEN="token-of-the-benchmark", **SECRETS)
        took = ask(f"http://127.0.0.1:{port}", paths(rows), rounds)
        web.stop()
        medians = {path: statistics.median(times) for path, times in took.items()}
        p95s = {path: sorted(times)[min(len(times) - 1, int(len(times) * 0.95))] for path, times in took.items()}
        for path in sorted(p95s, key=lambda path: -p95s[path])[:8]:
            print(f"         {p95s[path]:6.0f} ms p95, {medians[path]:6.0f} ms median  {path}", file=sys.stderr)
        name = f"{len(took)} pages and lists, {rows:,} deliveries, {database}"
        for statistic, values in (("median", medians), ("p95", p95s)):
            slowest = max(values, key=lambda path: values[path])
            value = values[slowest]
            yield Row(
                f"{name}: slowest {statistic} ({slowest})",
                number(value, "ms"),
                "",
                None,
                f"{AIM_MS:g} ms",
                value <= AIM_MS,
            )


def paths(rows: int) -> list[str]:
    """Every page and list, with the filters that could cost most."""
    some = rows // 2 // 40 * 40 + 11  # it is dead
    ids, tail = year.ids_of(some), year.tail_of(some)
    new = year.ids_of(rows - 1)
    email, buyer = f"p{tail}@example.com", f"user_{year.tail_of(0)}"
    return [
        "/", *(f"/?span={name}" for name in SPANS), "/api/v1/traffic?span=90d",
        "/failed", "/failed?status=dead", "/failed?status=retrying", "/failed?source=clerk",
        "/failed?kind=lead&code=404", "/failed?reason=answered+503", f"/failed?before={ids['delivery']}", f"/failed?q={email}",
        "/failed?q=p0", "/failed?since=1h", "/failed?since=50d&until=40d", "/failed?code=500", f"/failed?q=clk_{tail}",
        "/deliveries", "/deliveries?status=delivered", "/deliveries?status=dead", "/deliveries?status=discarded",
        "/deliveries?status=pending", "/deliveries?source=clerk", "/deliveries?status=delivered&source=clerk&since=50d&until=40d",
        "/deliveries?kind=lead&since=1h", f"/deliveries?q={email}", "/events?source=clerk", "/events?source=clerk&outcome=parked",
        "/events?since=50d&until=40d", f"/events?q={email}",
        f"/deliveries?before={ids['delivery']}", f"/deliveries/{ids['delivery']}",
        f"/deliveries/{ids['delivery']}/edit", f"/deliveries/{new['delivery']}", "/events", "/events?outcome=parked",
        "/events?outcome=sale", "/events?outcome=pending", f"/events?before={ids['event']}", f"/events/{ids['event']}", "/persons",
        f"/persons?q={email}", f"/persons?before={ids['person']}", f"/persons/{ids['person']}", f"/persons/{year.BUYER}",
        f"/persons/{ids['person']}/forget", "/sources", "/inbound", "/inbound?since=30d", "/inbound/quarantine",
        "/destination", "/playground",
        "/resend", "/resend?since=24h", "/resend?since=41d&until=40d&destination=main", "/resend?since=41d&until=40d&to=main",
        f"/playground?event={ids['event']}", "/audit", f"/audit?before={rows // 100}", "/audit?actor=nobody", "/users", "/account",
        "/configuration",
        f"/audit?target={ids['delivery']}",
        f"/search?q={email}", "/pulse", "/alerts", "/api/v1/alerts",
        f"/search?q=pi_{tail}", f"/search?q=cus_{tail}", f"/search?q=clk_{tail}", "/search?q=clk_0", "/search?q=p1", "/search?q=u",
        "/search?q=nobody", f"/search?q={ids['delivery']}", "/healthz", "/readyz", "/metrics", "/api/v1/events",
        "/api/v1/events?outcome=parked&limit=500", f"/api/v1/events/{ids['event']}", "/api/v1/deliveries?limit=500",
        "/api/v1/deliveries?status=dead", f"/api/v1/deliveries?status=delivered&before={ids['delivery']}",
        f"/api/v1/deliveries/{ids['delivery']}", "/api/v1/stats", "/api/v1/openapi.json", "/api/v1/persons?limit=500",
        f"/api/v1/persons?q={email}", f"/api/v1/persons/{year.BUYER}", "/api/v1/sources", "/api/v1/destinations", "/api/v1/audit",
        f"/why?q={email}", f"/why?q=pi_{tail}", "/why?q=nobody", f"/why?person={year.BUYER}",
        "/coverage", "/api/v1/coverage", "/deliveries?click=none", "/events?click=none",
        "/deliveries?kind=sale&source=clerk&click=none",
        "/parked", "/parked?source=clerk", "/parked?reason=nothing", "/api/v1/parked?limit=100",
        f"/deliveries?q={buyer}", f"/events?q={buyer}", f"/events?q={buyer}&outcome=lead", f"/persons?q={buyer}",
        "/persons?q=nobody",
        "/setup", "/sources/stripe", "/sandbox", f"/deliveries/{year.ids_of(rows // 2)['delivery']}/again", "/api/v1/setup",
        "/api/v1/sources/stripe", "/api/v1/status", "/api/v1/me", "/api/v1/users", "/api/v1/refusals", "/api/v1/quarantine",
        f"/api/v1/events/{year.ids_of(rows // 100 * 50)['other']}/lacks",
        f"/api/v1/why?q=pi_{tail}", f"/api/v1/why?q={email}",
        "/api/v1/deliveries?source=clerk&kind=lead", "/api/v1/deliveries?since=1h", f"/api/v1/deliveries?q={email}",
    ]  # fmt: skip


def ask(base: str, paths_to_ask: list[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each answer, by path. Raises RuntimeError where one is not 200."""
    session = requests.Session()
    session.post(f"{base}/login", data={"password": PASSWORD, "name": "bench"}, timeout=60).raise_for_status()
    took: dict[str, list[float]] = {path: [] for path in paths_to_ask}
    for turn in range(rounds + 1):
        for path in paths_to_ask:
            began = time.perf_counter()
            answer = session.get(base + path, headers=API, timeout=120)
            if turn:
                took[path].append((time.perf_counter() - began) * 1000)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} answered {answer.status_code}: {answer.text[:200]}")
    return took
