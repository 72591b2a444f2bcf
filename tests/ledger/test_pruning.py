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
from app.config.bridge_toml import RetentionTable
from app.config.settings import Settings
from app.errors import ConfigurationError
from app.ledger import tables
from app.ledger.actions.edit import why_not_editable
from app.ledger.actions.retention import DAY_MS, prune
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import all_deliveries, delivery
from app.ledger.reading.events import all_events
from app.web.factory import create_app
from tests.support.makers import begin, change, checkout, count, one, settle, signed

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
    message = apply(ledger, dry_run=True, bodies_days=30, answers_days=30, deliveries_days=30, refusals_days=30)
    assert [count(ledger, t) for t in ("events", "deliveries", "attempts", "refusals")] == before
    done = apply(ledger, bodies_days=30, answers_days=30, deliveries_days=30, refusals_days=30)
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
    assert done == {"bodies of events blanked": 30_000, "events removed": 30_000}
    assert sum(batches) == 60_000
    assert max(batches) <= 200
    waits.sort()  # in batches, not in seconds: how long those take is the machine's affair
    assert len(waits) > 50
    assert waits[len(waits) // 2] <= 2
    assert waits[int(len(waits) * 0.95)] <= 10


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_command_keeps_everything_unless_told_and_says_what_it_did(
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
    make_settings(DATABASE_URL=ledger_url)
    result = CliRunner().invoke(main, ["prune"])
    assert result.exit_code == 0
    assert "everything is kept" in result.output
    assert count(ledger, "events") == 1
    path = tmp_path / "bridge.toml"
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
