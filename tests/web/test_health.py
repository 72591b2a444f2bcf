"""/healthz, /readyz and /metrics."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.makers import away, change, checkout, one, settle

STATEMENT = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('here', 1, 'x', ?, ?)"


def beat(ledger, seconds_ago: float = 0) -> None:
    """A worker that last reported that long ago."""
    with ledger.read() as tx:
        now = tx.now() - int(seconds_ago * 1000)
    change(ledger, STATEMENT, now, now)


def test_it_is_alive_whatever_else_is_not(web, ledger, ledger_url):
    with away(ledger, ledger_url):
        answer = web.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "alive"})


def test_it_is_ready_with_ledger_redis_and_a_fresh_heartbeat_and_names_what_is_missing(
    make_app, ledger, ledger_url, valkey
):
    web = make_app(REDIS_URL=valkey.url).test_client()

    def problems() -> list[str]:
        answer = web.get("/readyz")
        assert answer.status_code == (503 if answer.json["problems"] else 200)
        return list(answer.json["problems"])

    (missing,) = problems()
    assert "no worker" in missing
    beat(ledger, seconds_ago=60)
    assert problems() == [missing]
    beat(ledger)
    assert problems() == []
    assert web.get("/readyz").json["status"] == "ready"
    with away(ledger, ledger_url):
        (missing,) = problems()
        assert "ledger" in missing
    beat(ledger)
    valkey.kill()
    (missing,) = problems()
    assert "Redis does not answer" in missing
    change(ledger, "UPDATE workers SET stopped_at = 1")
    assert len(problems()) == 2


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_without_redis_it_says_so(web):
    assert "REDIS_URL is not set" in web.get("/readyz").json["problems"]


def test_metrics_count_and_name_nobody(web, post, ledger):
    post(checkout(1))
    post(checkout(1))
    settle(ledger, "permanent", status=422, error="no")
    web.post("/webhooks/stripe", data=b"{}")
    web.post("/webhooks/<script>", data=b"{}")
    beat(ledger)
    text = web.get("/metrics").text
    for line in (
        'bridge_webhooks_total{result="sale",source="stripe"} 1.0',
        'bridge_webhooks_total{result="duplicate",source="stripe"} 1.0',
        'bridge_webhooks_total{result="refused",source="stripe"} 1.0',
        'bridge_webhooks_total{result="unknown",source="unknown"} 1.0',
        'bridge_deliveries{status="dead"} 1.0',
        'bridge_deliveries{status="delivered"} 0.0',
        'bridge_events{outcome="sale"} 1.0',
        "bridge_event_repeats 1.0",
        "bridge_workers_alive 1.0",
    ):
        assert line in text.splitlines()
    assert "example.com" not in text
    assert "script" not in text


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_metrics_token_closes_the_metrics(make_app):
    web = make_app(METRICS_TOKEN="a token for metrics").test_client()
    assert web.get("/metrics").status_code == 401
    for header in ("Bearer wrong", "a token for metric", "Bearer \xe9", "Bearer api token of the tests"):
        assert web.get("/metrics", headers={"Authorization": header}).status_code == 401
    assert web.get("/metrics", headers={"Authorization": "Bearer a token for metrics"}).status_code == 200
    assert web.get("/readyz").status_code == 503


def test_metrics_of_a_ledger_that_is_away_are_503(web, ledger, ledger_url):
    with away(ledger, ledger_url):
        assert web.get("/metrics").status_code == 503
    assert one(ledger, "SELECT COUNT(*) FROM events") == (0,)


def test_metrics_are_what_prometheus_reads_with_a_unit_and_a_help_each(app, web, post, ledger):
    post(checkout(1))
    settle(ledger, "transient", status=503, retry=True)
    web.post("/webhooks/stripe", data=b"{}")
    app.extensions["refusals"].flush()
    answer = web.get("/metrics")
    assert answer.mimetype == "text/plain"
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert all(family.documentation for family in families.values())
    assert {name for name in families if name.startswith("bridge_")} >= {
        "bridge_webhooks",
        "bridge_deliveries",
        "bridge_events",
        "bridge_event_repeats",
        "bridge_refusals",
        "bridge_oldest_due_seconds",
        "bridge_workers_alive",
        "bridge_destination_paused",
        "bridge_destination_breaker_open",
        "bridge_alerts_open",
        "bridge_alerts_unsent",
    }
    assert families["bridge_webhooks"].type == "counter"
    (refused,) = families["bridge_refusals"].samples
    assert (refused.labels, refused.value) == ({"source": "stripe", "reason": "missing"}, 1)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_docs_name_every_metric(web, post):
    post(checkout(1))
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for family in text_string_to_metric_families(web.get("/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert family.name == "bridge_webhooks_created" or f"`{name}`" in page, name
