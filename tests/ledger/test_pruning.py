"""Retention: what is old goes, and nothing that counting once, renewals or fixing rely on goes with it."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import event

from app.cli import main
from app.config.bridge_toml import DEFAULT_DAYS, RetentionTable
from app.config.settings import Settings
from app.errors import ConfigurationError
from app.ledger import tables
from app.ledger.actions.edit import why_not_editable
from app.ledger.actions.retention import DAY_MS, RULES, prune
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import all_deliveries, delivery
from app.ledger.reading.events import all_events
from app.ledger.schema import upgrade
from app.ledger.upkeep.compaction import Released
from app.ledger.upkeep.space import OLD_FILE, compact, release_space
from app.web.factory import create_app
from tests.support.makers import begin, change, checkout, count, one, settle, signed
from tests.support.released_ledgers import load
from workers.pruning import make_pruning

ALL = dict.fromkeys(RetentionTable.model_fields, 30.0)


@pytest.fixture
def post(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Callable[[bytes], Any]]:
    app = create_app(make_settings(), ledger)
    client = app.test_client()

    def send(body: bytes) -> Any:
        answer = client.post("/webhooks/stripe", **signed(body))
        assert answer.status_code == 200
        return answer.json

    yield send
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()


def later(ledger: Ledger, days: float = 365) -> int:
    with ledger.read() as tx:
        return tx.now() + int(days * DAY_MS)


def apply(ledger: Ledger, days: float = 365, *, dry_run: bool = False, **rules: float) -> dict[str, int]:
    table = RetentionTable(**(rules or ALL))
    return {p.what: p.count for p in prune(ledger, table, now=later(ledger, days), dry_run=dry_run)}


def test_a_pruned_purchase_is_still_counted_only_once(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    assert apply(ledger)["deliveries removed"] == 1
    assert [count(ledger, table) for table in ("events", "deliveries", "attempts")] == [0, 0, 0]
    again = post(checkout(1))
    assert again["outcome"] == "duplicate"
    other_event = post(checkout(1, event_id="evt_other"))
    assert other_event["outcome"] == "duplicate"
    assert count(ledger, "deliveries") == 0


def test_what_was_first_sent_for_a_person_stands_after_its_delivery_is_gone(
    post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1, metadata={"clickId": "clk_first"}, customer="cus_1"))
    settle(ledger, "delivered")
    sent = one(ledger, "SELECT customer_id FROM persons")[0]
    assert sent == "cus_1"
    apply(ledger)
    post(checkout(2, customer="cus_1", metadata={"user_id": "an_explicit_id"}))
    (row,) = list(all_deliveries(ledger))
    assert row["payload"]["customerExternalId"] == "cus_1"
    assert row["payload"]["clickId"] == "clk_first"
    assert one(ledger, "SELECT COUNT(*) FROM conflicts")[0] == 1


def test_a_person_whose_deliveries_are_gone_still_outranks_another_in_a_merge(
    post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1, metadata={}, customer="cus_1", customer_details={"email": "a@example.com"}))
    settle(ledger, "delivered")
    apply(ledger)
    post(checkout(2, metadata={"user_id": "user_x"}, customer=None, customer_details={"phone": "+15550001111"}))
    post(checkout(3, metadata={"user_id": "user_x"}, customer="cus_1", customer_details={"email": "a@example.com"}))
    found = {r["event_id"]: r["payload"]["customerExternalId"] for r in all_deliveries(ledger)}
    assert found == {"evt_2": "cus_1", "evt_3": "cus_1"}


def test_what_is_open_dead_or_parked_stays_whatever_its_age(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    for number in (1, 2, 3):
        post(checkout(number))
    claimed = begin(ledger)
    settle(ledger, "permanent", status=422, claimed=claimed[:1])
    settle(ledger, "transient", status=503, retry=True, claimed=claimed[1:2])
    post(checkout(4, metadata={}, customer_details={}))
    assert one(ledger, "SELECT COUNT(*) FROM events WHERE outcome = 'parked'") == (1,)
    body = one(ledger, "SELECT body, headers FROM events WHERE outcome = 'parked'")
    done = apply(ledger)
    assert done["deliveries removed"] == done["events removed"] == 0
    assert {d["status"] for d in all_deliveries(ledger)} == {"dead", "retrying", "pending"}
    assert len(list(all_deliveries(ledger))) == 3
    assert one(ledger, "SELECT body, headers FROM events WHERE outcome = 'parked'") == body
    assert done["attempts removed"] == 1  # of the dead one; that of the open one stays
    # of what is dead and closed the body goes, of what is still to be sent it stays
    dead, *others = [b for (b,) in rows(ledger, "SELECT length(body) FROM events ORDER BY id")]
    assert dead < 20
    assert all(length > 100 for length in others)


def rows(ledger: Ledger, statement: str) -> list[Any]:
    with ledger.read() as tx:
        return list(tx.run(statement).all())


def test_an_attempt_that_ended_unknown_still_forbids_another_body(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "unknown", status=None, error="time-out")
    identity = one(ledger, "SELECT id FROM deliveries")[0]
    apply(ledger)
    with ledger.read() as tx:
        reason = why_not_editable(tx, delivery(tx, identity))
    assert "unknown" in str(reason)


def test_an_event_stays_as_long_as_a_delivery_names_it(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    post(checkout(1, event_id="evt_other"))
    assert apply(ledger, events_days=30) == {"events removed": 0}
    assert len(list(all_deliveries(ledger))) == 1
    apply(ledger, deliveries_days=30)
    assert apply(ledger, events_days=30) == {"events removed": 2}


def test_only_what_is_old_enough_goes_and_each_by_its_own_age(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "delivered", answer="fine")
    assert set(apply(ledger, days=29).values()) == {0}
    assert apply(ledger, days=31, answers_days=30, attempts_days=60) == {
        "answers of the destination blanked": 1,
        "attempts removed": 0,
    }
    assert one(ledger, "SELECT answer_body, result FROM attempts") == (None, "delivered")
    change(ledger, "UPDATE deliveries SET delivered_at = ?", later(ledger, 20))  # replayed by force since
    assert apply(ledger, days=40, deliveries_days=30) == {"deliveries removed": 0}
    assert apply(ledger, days=51, deliveries_days=30) == {"deliveries removed": 1}


def test_a_dry_run_counts_the_same_and_changes_nothing(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    for number in range(5):
        post(checkout(number))
    settle(ledger, "delivered", answer="fine")
    with ledger.write() as tx:
        add_refusals(tx, {("stripe", "wrong"): 3}, 1)
    before = [count(ledger, t) for t in ("events", "deliveries", "attempts", "refusals")]
    message = apply(ledger, dry_run=True, bodies_days=30, deliveries_days=30, refusals_days=30)
    assert [count(ledger, t) for t in ("events", "deliveries", "attempts", "refusals")] == before
    done = apply(ledger, bodies_days=30, deliveries_days=30, refusals_days=30)
    assert done == message
    assert set(done.values()) == {5, 1}
    assert set(apply(ledger, bodies_days=30, deliveries_days=30).values()) == {0}
    assert len(list(all_events(ledger))) == 5


def test_erasures_stay_in_the_audit_log(ledger: Ledger) -> None:
    with ledger.write() as tx:
        lines = [(1, "cli", action, "x", "") for action in ("forget", "replay")]
        tx.insert(tables.audit, ("at", "actor", "action", "subject", "detail"), lines)
    assert apply(ledger, audit_days=30) == {"lines of the audit log removed": 1}
    assert one(ledger, "SELECT action FROM audit") == ("forget",)


def test_nobody_waits_long_for_the_lock_while_much_is_pruned(ledger: Ledger) -> None:
    columns = ("id", "event_key", "source", "event_id", "event_type", "outcome", "reason", "received_at",
               "last_received_at", "headers", "body")  # fmt: skip
    with ledger.write() as tx:
        old = [
            (n, f"k{n}", "stripe", str(n), "t", "ignored", "", n, n, '{"a":1}', b"x" * 500) for n in range(1, 30_001)
        ]
        tx.insert(tables.events, columns, old)
    batches, waits, stop = [], [], threading.Event()

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if re.match("(UPDATE|DELETE FROM) events", statement):
            batches.append(str(values[-1]).count(",") + 1)  # its ids, as a list of either database

    def write() -> None:
        while not stop.is_set():
            before = len(batches)
            with ledger.write() as tx:
                tx.run("UPDATE counters SET value = value WHERE name = 'ids'")
            waits.append(len(batches) - before)
            time.sleep(0.001)

    event.listen(ledger.engine, "after_cursor_execute", note)
    thread = threading.Thread(target=write)
    thread.start()
    done = apply(ledger, bodies_days=30, events_days=30)
    stop.set()
    thread.join()
    assert done == {"bodies of events blanked": 0, "events removed": 30_000}, "what goes is not rewritten first"
    assert sum(batches) == 30_000
    assert max(batches) <= 200
    waits.sort()  # in batches, not in seconds: how long those take is the machine's affair
    assert len(waits) > 50
    assert waits[len(waits) // 2] <= 2
    assert waits[int(len(waits) * 0.95)] <= 10


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_command_keeps_what_it_is_told_and_says_what_it_did(
    make_settings: Callable[..., Settings],
    ledger_url: str,
    post: Callable[[bytes], Any],
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    change(ledger, "UPDATE deliveries SET created_at = 1, delivered_at = 1")
    change(ledger, "UPDATE events SET received_at = 1")
    path = tmp_path / "bridge.toml"
    path.write_text("[retention]\n" + "".join(f'{name} = "forever"\n' for name in RetentionTable.model_fields))
    make_settings(DATABASE_URL=ledger_url, BRIDGE_CONFIG=str(path))
    result = CliRunner().invoke(main, ["prune"])
    assert (result.exit_code, "Everything is kept" in result.output) == (0, True)
    assert count(ledger, "events") == 1
    path.write_text("[retention]\ndeliveries_days = 400\nevents_days = 400\n")
    make_settings(DATABASE_URL=ledger_url, BRIDGE_CONFIG=str(path))
    result = CliRunner().invoke(main, ["prune", "--dry-run"])
    assert "would be deliveries removed: 1 (older than 400 days)" in result.output
    assert count(ledger, "deliveries") == 1
    result = CliRunner().invoke(main, ["prune"])
    assert result.output.splitlines() == [
        "deliveries removed: 1 (older than 400 days)",
        "events removed: 1 (older than 400 days)",
    ]
    assert (count(ledger, "events"), count(ledger, "deliveries"), count(ledger, "dedupe_keys")) == (0, 0, 2)


def test_every_table_that_grows_has_a_rule_and_keeps_what_is_young(ledger: Ledger) -> None:
    young = later(ledger, -1)
    with ledger.write() as tx:
        for at in (1, young):
            tx.insert(tables.conflicts, ("at", "event_id", "reason"), [(at, 1, "x")])
            columns = ("reference", "key", "kind", "status", "minor", "currency", "at")
            tx.insert(tables.marks, columns, [(f"re_{at}", "k", "refund", "whole", 1, "usd", at)])
            requests = ("received_at", "kind", "idempotency_key", "body")
            tx.insert(tables.sandbox_requests, requests, [(at, "sale", "k", "{}")])
            for stopped in (at, None):
                tx.run(
                    "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at, stopped_at)"
                    " VALUES ('h', 1, '1', ?, ?, ?)",
                    *(at, at, stopped),
                )
    done = apply(ledger, days=0, conflicts_days=30, marks_days=30, sandbox_days=30, workers_days=30)
    assert set(done.values()) == {1}
    assert [count(ledger, t) for t in ("conflicts", "marks", "sandbox_requests", "workers")] == [1, 1, 1, 3]
    grown = {table.name for table in tables.metadata.sorted_tables}
    ruled = {rule.table for rule in RULES} | {"marks", "refusals", "last_refusals", *tables.TABLES_OF_EVENTS}
    assert grown - ruled == {
        "alerts", "counters", "destinations", "metric_values", "schema_revisions", "stale_payloads",
        "refused_minutes", "processes",  # do not grow
        "api_tokens", "users",  # are bounded, and removed by hand
        "conversions", "dedupe_keys", "identifiers", "persons",  # stay, so that nothing is counted twice
        "refunds", "remembered",  # stay with their conversions
        "hourly_counts",  # ends where charts end (app/ledger/traffic/hours.py)
    }  # fmt: skip


def test_refunds_stay_as_long_as_their_sale_has_a_delivery(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    key = one(ledger, "SELECT key FROM dedupe_keys LIMIT 1")[0]
    with ledger.write() as tx:
        columns = ("reference", "key", "kind", "status", "minor", "currency", "at")
        tx.insert(tables.marks, columns, [("re_1", key, "refund", "whole", 1, "usd", 1)])
    assert apply(ledger, marks_days=30) == {"refunds and disputes removed": 0}
    settle(ledger, "delivered")
    assert apply(ledger, deliveries_days=30, marks_days=30)["refunds and disputes removed"] == 1


def test_a_worker_prunes_once_a_day_and_leaves_the_rest_where_it_stops(
    post: Callable[[bytes], Any], ledger: Ledger, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    for number in range(3):
        post(checkout(number))
    settle(ledger, "delivered")
    change(ledger, "UPDATE deliveries SET created_at = 1, delivered_at = 1")
    change(ledger, "UPDATE events SET received_at = 1")
    first, second = make_pruning(settings, ledger), make_pruning(settings, ledger)
    assert first is not None
    assert second is not None
    first.stop()
    assert first.look(), "it was time"
    assert count(ledger, "events") == 3, "it was stopped"
    assert second.look()
    assert (count(ledger, "events"), count(ledger, "deliveries"), count(ledger, "dedupe_keys")) == (0, 0, 6)
    assert not second.look(), "not again on the same day"
    change(ledger, "UPDATE counters SET value = ? WHERE name = 'pruned_at'", later(ledger, -1.1))
    assert second.look()


def test_retention_is_on_unless_it_says_forever(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    assert dict(make_settings().retention) == DEFAULT_DAYS
    path = tmp_path / "bridge.toml"
    path.write_text('[retention]\nevents_days = "forever"\nbodies_days = 7\n')
    retention = make_settings(BRIDGE_CONFIG=str(path)).retention
    assert dict(retention) == {**DEFAULT_DAYS, "events_days": None, "bodies_days": 7}
    path.write_text("[retention]\n" + "".join(f'{name} = "forever"\n' for name in RetentionTable.model_fields))
    assert make_pruning(make_settings(BRIDGE_CONFIG=str(path)), Ledger(f"sqlite:///{tmp_path / 'l.db'}")) is None


def test_the_space_of_what_was_removed_is_given_back(ledger: Ledger) -> None:
    columns = ("id", "event_key", "source", "event_id", "event_type", "outcome", "reason", "received_at",
               "last_received_at", "headers", "body")  # fmt: skip
    with ledger.write() as tx:
        old = [(n, f"k{n}", "stripe", str(n), "t", "ignored", "", n, n, "{}", b"x" * 900) for n in range(1, 5_001)]
        tx.insert(tables.events, columns, old)
    apply(ledger, events_days=30)
    freed = release_space(ledger).freed_bytes
    assert freed > 4_000_000
    if ledger.is_sqlite:
        assert one(ledger, "PRAGMA freelist_count") == (0,)
        assert one(ledger, "PRAGMA integrity_check") == ("ok",)
        ledger.close()
        assert Path(str(ledger.engine.url.database)).stat().st_size < 1_000_000
    else:
        change(ledger, "ANALYZE events")
        assert one(ledger, "SELECT relpages FROM pg_class WHERE relname = 'events'")[0] < 100


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_an_old_file_gets_shorter_when_it_is_compacted(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.upkeep.bloat.LEAST_BYTES", 4096)
    load("0001", url := f"sqlite:///{tmp_path / 'old.db'}")
    old = Ledger(url)
    upgrade(old)
    change(old, "CREATE TABLE removed AS SELECT randomblob(50000)")
    change(old, "DROP TABLE removed")
    assert (one(old, "PRAGMA auto_vacuum"), release_space(old)) == ((0,), Released(0, (OLD_FILE,)))
    compact(old)
    assert (one(old, "PRAGMA auto_vacuum"), one(old, "PRAGMA freelist_count"), count(old, "events")) == ((2,), (0,), 8)
    old.close()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("days = 3", "retention.days"),
        ("events_days = 0", "retention.events_days"),
        ('bodies_days = "x"', "retention.bodies_days"),
    ],
)
def test_a_retention_that_means_nothing_is_named(
    make_settings: Callable[..., Settings], tmp_path: Path, text: str, key: str
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(f"[retention]\n{text}\n")
    with pytest.raises(ConfigurationError, match=key):
        _ = make_settings(BRIDGE_CONFIG=str(path)).retention
