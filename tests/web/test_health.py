"""/healthz, /readyz, /statusz and /metrics."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, make_url

from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import ensure_destination
from app.ledger.metrics import MeasureKeeper
from app.queue import connect
from app.telemetry.measures import Measures
from app.web.factory import create_app
from tests.conftest import FakeDestination, Valkey, wait_for
from tests.support.makers import away, change, checkout, execute_beside, one, settle, signed
from tests.support.proxy import Proxy
from workers.forward import Forwarder

STATEMENT = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('here', 1, 'x', ?, ?)"


def beat(ledger: Ledger, seconds_ago: float = 0) -> None:
    """A worker that last reported that long ago."""
    with ledger.read() as tx:
        now = tx.now() - int(seconds_ago * 1000)
    change(ledger, STATEMENT, now, now)


def test_it_is_alive_whatever_else_is_not(web: FlaskClient, ledger: Ledger, ledger_url: str) -> None:
    with away(ledger, ledger_url):
        answer = web.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "alive"})


@pytest.fixture(autouse=True)
def _asked_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question is a new one, where the answer of a moment ago would do otherwise."""
    monkeypatch.setattr("app.web.public.probes.FRESH_SECONDS", 0.0)


def look(web: FlaskClient) -> tuple[list[str], list[str]]:
    """What /readyz calls a problem and what degraded, once /statusz agrees with it."""
    ready, status = web.get("/readyz"), web.get("/statusz")
    assert ready.status_code == (503 if ready.get_json()["problems"] else 200)
    assert ready.get_json()["status"] == ("not ready" if ready.get_json()["problems"] else "ready")
    assert status.get_json()["problems"] == ready.get_json()["problems"] + ready.get_json()["degraded"]
    assert status.status_code == (503 if status.get_json()["problems"] else 200)
    return ready.get_json()["problems"], ready.get_json()["degraded"]


def test_it_is_ready_while_the_ledger_takes_writes_and_names_what_else_does_not_work(
    make_app: Callable[..., Flask], ledger: Ledger, ledger_url: str, valkey: Valkey
) -> None:
    web = make_app(REDIS_URL=valkey.url).test_client()
    missing = "no worker has a fresh heartbeat: start `bridge worker`"
    assert look(web) == ([], [missing])
    beat(ledger, seconds_ago=60)
    assert look(web) == ([], [missing])
    beat(ledger)
    assert look(web) == ([], [])
    with away(ledger, ledger_url):
        (problem,), degraded = look(web)
        assert problem.startswith("the ledger cannot be used now (")
        assert degraded == []
    beat(ledger)
    valkey.kill()
    problems, (redis,) = look(web)
    assert problems == []
    assert "Redis does not answer" in redis
    change(ledger, "UPDATE workers SET stopped_at = 1")
    assert look(web) == ([], [redis, missing])


def test_an_answer_of_a_moment_ago_is_given_again_as_it_was(web: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.public.probes.FRESH_SECONDS", 100.0)
    answers = [look(web) for _ in range(3)]
    assert answers[0][0] == []
    assert answers == [answers[0]] * 3


def test_nothing_is_left_of_what_was_tried(web: FlaskClient, ledger: Ledger) -> None:
    for _ in range(3):
        look(web)
    assert one(ledger, "SELECT COUNT(*) FROM events") == (0,)
    assert one(ledger, "SELECT COUNT(*) FROM counters WHERE name = 'probe'") == (1,)


def read_only(ledger: Ledger, url: str) -> None:
    """From now on the ledger can be read and not written."""
    ledger.close()
    if ledger.is_sqlite:
        event.listen(ledger.engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only = 1"))
    else:
        name = make_url(url).database
        execute_beside(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")


def no_room(ledger: Ledger, url: str) -> None:
    """From now on there is no room for another event."""
    ledger.close()
    if ledger.is_sqlite:
        pages = one(ledger, "PRAGMA page_count")[0]
        ledger.close()
        event.listen(ledger.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages}"))
    else:
        body = "BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END"
        change(ledger, f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        change(ledger, "CREATE TRIGGER no_room BEFORE INSERT ON events EXECUTE FUNCTION no_room()")


@pytest.mark.parametrize(("happens", "reason"), [(read_only, "read-only"), (no_room, "full")])
def test_a_ledger_that_answers_every_read_and_takes_no_write_is_not_ready(
    make_app: Callable[..., Flask], ledger: Ledger, ledger_url: str, happens: Callable[..., Any], reason: str
) -> None:
    web = make_app().test_client()
    assert web.get("/readyz").status_code == 200
    happens(ledger, ledger_url)
    statuses = (
        web.post("/webhooks/stripe", **signed(checkout(n, metadata={"note": "x" * 3000}))).status_code
        for n in range(99)
    )
    assert 503 in statuses, "what little room was left is used up"
    (problem,), _ = look(web)
    assert reason in problem


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), "Redis is read-only"),
        (("CONFIG", "SET", "maxmemory", "1"), "Redis is out of memory"),
        (("ACL", "SETUSER", "default", "-set"), "Redis refuses the user or password"),
        (("CONFIG", "SET", "requirepass", "another"), "Redis refuses the user or password"),
        (("CONFIG", "SET", "min-replicas-to-write", "3"), "Redis takes no writes"),
    ],
)
def test_a_redis_that_answers_and_takes_no_nudge_is_named(
    make_app: Callable[..., Flask], ledger: Ledger, valkey: Valkey, command: tuple[str, ...], said: str
) -> None:
    web = make_app(REDIS_URL=valkey.url).test_client()
    beat(ledger)
    assert look(web) == ([], [])
    redis = connect(valkey.url)
    redis.execute_command(*command)
    redis.close()
    web = make_app(REDIS_URL=valkey.url).test_client()  # as after a restart: it logs in again
    problems, (degraded,) = look(web)
    assert problems == []
    assert degraded.startswith(said)


def test_what_is_late_and_what_is_paused_is_named(
    web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    beat(ledger)
    post(checkout(1))
    assert web.get("/readyz").get_json()["degraded"] == ["REDIS_URL is not set"]
    with ledger.write() as tx:
        ensure_destination(tx, "sandbox", "print")
    change(ledger, "UPDATE deliveries SET due_at = ?", int(time.time() * 1000) - 600_000)
    assert look(web) == ([], ["REDIS_URL is not set", "deliveries to sandbox are 10 min late"])
    change(ledger, "UPDATE destinations SET paused_at = 1, paused_reason = 'by Grace'")
    assert look(web) == ([], ["REDIS_URL is not set", "forwarding to sandbox is paused"])


def test_statusz_lists_what_else_is_wrong_without_names_and_numbers(
    web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    beat(ledger)
    assert web.get("/statusz").get_json()["warnings"] == []
    post(checkout(1))
    settle(ledger, "permanent", status=422, error="answered 422: no such plan of Ada's")
    with ledger.write() as tx:
        add_refusals(tx, {("typeform", "wrong"): 40}, tx.now())
    found = web.get("/statusz")
    warnings = ["requests of a source are refused", "deliveries failed permanently"]
    assert found.get_json() == {"status": "not working", "problems": ["REDIS_URL is not set"], "warnings": warnings}


def test_no_stranger_learns_where_the_ledger_is(
    make_app: Callable[..., Flask], ledger: Ledger, ledger_url: str, valkey: Valkey
) -> None:
    web = make_app(REDIS_URL=valkey.url).test_client()
    valkey.kill()
    parts = make_url(ledger_url)
    secret = [str(parts.database), str(parts.query.get("host", "ledger.db")), "socket", "valkey", "/tmp"]
    with away(ledger, ledger_url):
        for path in ("/readyz", "/statusz"):
            text = web.get(path).text
            assert not [name for name in secret if name in text], text


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_who_asks_is_answered_soon_even_while_the_ledger_is_silent(
    make_settings: Callable[..., Settings], ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(f"{make_url(ledger_url).query['host']}/.s.PGSQL.5432")
    ledger = Ledger(f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(ledger_url).database}")
    app = create_app(make_settings(), ledger)
    assert app.test_client().get("/readyz").status_code == 200
    monkeypatch.setattr("app.web.public.probes.PATIENCE_SECONDS", 0.2)  # only now: a busy machine connects more slowly
    proxy.silence(new=True)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/readyz"), range(8)))
    assert {(answer.status_code, *answer.get_json()["problems"]) for answer in answers} == {
        (503, "the ledger does not answer")
    }
    assert sum(1 for thread in threading.enumerate() if thread.name == "probe") <= 1, "one asks for all"
    app.extensions["writer"].stop()
    proxy.close()
    ledger.close()


def test_a_web_that_starts_while_the_ledger_is_away_serves_when_it_is_back(
    make_app: Callable[..., Flask], ledger: Ledger, ledger_url: str
) -> None:
    with away(ledger, ledger_url):
        web = make_app().test_client()
        assert web.get("/readyz").status_code == 503
    assert web.get("/readyz").status_code == 200
    assert web.post("/webhooks/stripe", **signed(checkout())).status_code == 200


def test_a_ledger_of_another_schema_is_not_ready(
    make_app: Callable[..., Flask], ledger: Ledger, ledger_url: str
) -> None:
    with away(ledger, ledger_url):
        web = make_app().test_client()
    change(ledger, "UPDATE alembic_version SET version_num = '0000'")
    (problem,), _ = look(web)
    assert "bridge db upgrade" in problem


def test_metrics_count_and_name_nobody(web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger) -> None:
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
def test_a_metrics_token_closes_the_metrics(make_app: Callable[..., Flask]) -> None:
    web = make_app(METRICS_TOKEN="a token for metrics").test_client()
    assert web.get("/metrics").status_code == 401
    for header in ("Bearer wrong", "a token for metric", "Bearer \xe9", "Bearer api token of the tests"):
        assert web.get("/metrics", headers={"Authorization": header}).status_code == 401
    assert web.get("/metrics", headers={"Authorization": "Bearer a token for metrics"}).status_code == 200
    assert web.get("/statusz").status_code == 503


def test_metrics_of_a_ledger_that_is_away_are_503(web: FlaskClient, ledger: Ledger, ledger_url: str) -> None:
    with away(ledger, ledger_url):
        assert web.get("/metrics").status_code == 503
    assert one(ledger, "SELECT COUNT(*) FROM events") == (0,)


def test_metrics_are_what_prometheus_reads_with_a_unit_and_a_help_each(
    app: Flask, web: FlaskClient, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
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


def samples(web: FlaskClient) -> dict[str, float]:
    """Every sample but those of the build, as name{label="value",…}."""
    found = {}
    for family in text_string_to_metric_families(web.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_all_processes_count_together_and_whichever_is_asked_says_the_same(
    app: Flask, make_app: Callable[..., Flask], post: Callable[[bytes], Any], ledger: Ledger, destination: FakeDestination,
    make_settings: Callable[..., Settings],
) -> None:  # fmt: skip
    other = make_app(
        DESTINATION_URL=destination.url,
        DESTINATION_TOKEN="token-of-the-tests",
        DESTINATION_ALLOW_PRIVATE="1",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )
    settings = make_settings()
    for number in range(3):
        post(checkout(number))
    for number in range(3, 5):
        assert other.test_client().post("/webhooks/stripe", **signed(checkout(number))).status_code == 200
    change(ledger, "UPDATE deliveries SET destination = 'main'")
    assert samples(app.test_client())['bridge_backlog{destination="main"}'] == 5
    answers = iter([503, 200, 200, 200, 200, 200])
    destination.answer = lambda _request: (next(answers), {}, b"{}")
    keeper = MeasureKeeper(ledger, Measures(), "worker")
    stop = threading.Event()
    forwarder = Forwarder(ledger, destinations_of(settings), (0.05,), 900, stop, measures=keeper.measures)
    forwarder.worker_id = 1
    wait_for(lambda: forwarder.run(lambda: None) == 0 and len(destination.requests) == 6)
    forwarder.close()
    keeper.stop()
    keeper.flush()
    samples(other.test_client())  # adds what it counted; its own thread does so every few seconds
    first, second = samples(app.test_client()), samples(other.test_client())
    assert first == second
    for line, value in {
        'bridge_webhooks_total{result="sale",source="stripe"}': 5,
        'bridge_webhook_seconds_count{source="stripe"}': 5,
        'bridge_webhook_seconds_bucket{le="+Inf",source="stripe"}': 5,
        'bridge_attempts_total{destination="main",status="2xx"}': 5,
        'bridge_attempts_total{destination="main",status="5xx"}': 1,
        'bridge_delivery_seconds_count{destination="main"}': 5,
        'bridge_delivery_seconds_bucket{destination="main",le="86400.0"}': 5,
        'bridge_backlog{destination="main"}': 0,
        'bridge_claims{destination="main"}': 0,
    }.items():
        assert first[line] == value, line
    bounds = [first[f'bridge_webhook_seconds_bucket{{le="{le}",source="stripe"}}'] for le in ("0.005", "0.1", "5.0")]
    assert bounds == sorted(bounds)
    assert first['bridge_webhook_seconds_sum{source="stripe"}'] > 0
    assert {name for name in first if name.startswith("bridge_database_connections")} >= {
        'bridge_database_connections{role="web",state="idle"}',
        'bridge_database_connections{role="worker",state="in_use"}',
    }
    assert any(name.startswith('bridge_build_info{revision="') and value == 1 for name, value in first.items())


def test_what_could_not_be_kept_is_counted_when_the_ledger_is_back(
    web: FlaskClient, ledger: Ledger, ledger_url: str
) -> None:
    with away(ledger, ledger_url):
        assert web.post("/webhooks/stripe", **signed(checkout(1))).status_code == 503
        assert web.get("/metrics").status_code == 503
    assert samples(web)['bridge_webhooks_total{result="unavailable",source="stripe"}'] == 1


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_docs_name_every_metric(web: FlaskClient, post: Callable[[bytes], Any]) -> None:
    post(checkout(1))
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for family in text_string_to_metric_families(web.get("/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in page, name
