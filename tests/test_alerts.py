"""Alerts: each condition is reported once, anyone who of many workers tells it, and once more when it is over."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.alerts.channel import Channel
from app.alerts.thread import AlertThread
from app.alerts.webhook import WebhookChannel
from app.config.bridge_toml import AlertTable
from app.config.proxies import Proxies
from app.ledger import tables
from app.ledger.alerting.conditions import Detector, usual_gap
from app.ledger.alerting.incidents import open_incidents
from app.ledger.alerting.notifications import claim_unsent, unsent
from app.ledger.alerting.refusals import HOUR_MS, add_refusals
from app.ledger.engine import Ledger
from app.ledger.forwarding import breaker as forwarding_breaker
from app.ledger.forwarding.sweep import register_worker
from tests.conftest import FakeDestination, wait_for
from tests.support.makers import change, one

START = 1_790_000_000_000
MINUTE = 60_000
DAY = 24 * HOUR_MS
HOLD_SECONDS = 900
DELIVERY = (
    "id", "conversion_id", "person_id", "event_id", "source", "kind", "destination", "dedupe_key", "status", "payload",
    "created_at", "last_status", "last_error", "dead_at",
)  # fmt: skip
EVENT = ("id", "event_key", "source", "event_id", "event_type", "outcome", "reason", "received_at", "last_received_at",
         "headers", "body")  # fmt: skip


class Fleet:
    """Several workers' alert threads on one ledger, each with connections of its own, and one clock."""

    def __init__(self, url: str, webhook: str, size: int = 3, channels: Sequence[Channel] = (), **rules: Any) -> None:
        self.now = START
        self.ledgers = [Ledger(url) for _ in range(size)]
        self.threads = [
            AlertThread(
                ledger,
                Detector(AlertTable(**rules), ["main"], ["stripe", "tally"], HOLD_SECONDS),
                channels or [WebhookChannel(webhook, Proxies(None, {}))],
                "https://bridge.example",
                lambda _connection: self.now,
            )
            for ledger in self.ledgers
        ]
        self._pool = ThreadPoolExecutor(size)

    def go(self, minutes: float, step_seconds: float = 30) -> None:
        """Lets that much time pass, while every worker looks at once at each step."""
        for _ in range(int(minutes * 60 / step_seconds)):
            self.now += int(step_seconds * 1000)
            list(self._pool.map(lambda thread: thread.look(), self.threads))

    def close(self) -> None:
        self._pool.shutdown()
        for ledger in self.ledgers:
            ledger.close()


@pytest.fixture
def webhook(destination: FakeDestination) -> FakeDestination:
    return destination


@pytest.fixture
def make_fleet(ledger_url: str, webhook: FakeDestination) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(**options: Any) -> Fleet:
        made.append(Fleet(ledger_url, webhook.url, **options))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet]) -> Fleet:
    return make_fleet()


def texts(webhook: FakeDestination) -> list[str]:
    assert all(set(payload) == {"text"} for payload in webhook.payloads)
    return [payload["text"] for payload in webhook.payloads]


def die(ledger: Ledger, ids: range, at: int, status: int | None = 422) -> None:
    """These deliveries of Ada's die at `at`."""
    payload = json.dumps({"customerExternalId": "ada@example.com", "customerName": "Ada Lovelace"})
    rows = [
        (n, n, n, n, "stripe", "sale", "main", f"k{n}", "dead", payload, at, status, "no such ada@example.com", at)
        for n in ids
    ]
    with ledger.write() as tx:
        tx.insert(tables.deliveries, DELIVERY, rows)


def hear(ledger: Ledger, times: list[int], source: str = "stripe", first_id: int = 1) -> None:
    rows = [(first_id + n, f"{source}:{first_id + n}", source, str(n), "t", "ignored", "", at, at, "{}", b"")
            for n, at in enumerate(times)]  # fmt: skip
    with ledger.write() as tx:
        tx.insert(tables.events, EVENT, rows)


def breaker(ledger: Ledger, failures: int) -> None:
    change(ledger, "INSERT INTO destinations (name) VALUES ('main') ON CONFLICT DO NOTHING")
    change(ledger, "UPDATE destinations SET failures = ? WHERE name = 'main'", failures)


def test_an_outage_of_a_thousand_dead_is_one_alert_and_one_all_clear(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    fleet.go(5)
    assert texts(webhook) == []
    for batch in range(4):
        die(ledger, range(batch * 250 + 1, batch * 250 + 251), fleet.now, 422 if batch else None)
        fleet.go(0.5)
    fleet.go(60)
    (message,) = texts(webhook)
    assert "failed permanently" in message
    assert "https://bridge.example/failed?status=dead" in message
    assert any(count in message for count in ("500 ", "750 ", "1,000 "))  # what had died a minute after the first
    change(ledger, "UPDATE deliveries SET status = 'delivered'")
    fleet.go(60)
    _, over = texts(webhook)
    assert "All clear" in over
    assert one(ledger, "SELECT COUNT(*) FROM alerts") == (0,)


def test_nothing_of_a_person_and_no_words_of_anybody_are_in_an_alert(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    die(ledger, range(1, 4), fleet.now)
    with ledger.write() as tx:
        forwarding_breaker.pause(tx, "main", "Ada said so", actor="Grace")
    fleet.now = one(ledger, "SELECT paused_at FROM destinations")[0]
    fleet.go(3)
    assert texts(webhook)
    for words in ("ada", "grace", "lovelace", "example.com", "said so"):
        assert words not in str(webhook.payloads).lower()


def test_one_delivery_that_dies_does_not_hide_the_outage_after_it(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    die(ledger, range(1, 2), fleet.now)
    fleet.go(5)
    assert len(texts(webhook)) == 1
    assert "1 delivery to main has failed" in texts(webhook)[0]
    breaker(ledger, 8)
    fleet.go(9)
    assert len(texts(webhook)) == 1  # not yet ten minutes
    fleet.go(3)
    assert len(texts(webhook)) == 2
    assert "main has accepted nothing" in texts(webhook)[1]


def test_what_dies_in_an_outage_is_told_by_its_all_clear_and_then_only_if_more_die(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    breaker(ledger, 9)
    fleet.go(12)
    assert len(texts(webhook)) == 1
    die(ledger, range(1, 8), fleet.now)
    fleet.go(10)
    assert len(texts(webhook)) == 1
    breaker(ledger, 0)
    fleet.go(10)
    _, over = texts(webhook)
    assert "All clear: main accepts deliveries again" in over
    assert "7 of its deliveries failed permanently in the meantime" in over
    fleet.go(30)
    assert len(texts(webhook)) == 2
    die(ledger, range(8, 9), fleet.now)
    fleet.go(5)
    assert len(texts(webhook)) == 3
    assert "failed permanently" in texts(webhook)[2]


def test_a_destination_that_comes_and_goes_is_one_outage(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    for _ in range(6):
        breaker(ledger, 12)
        fleet.go(11)
        breaker(ledger, 0)
        fleet.go(3)
    assert len(texts(webhook)) == 1
    fleet.go(5)
    assert len(texts(webhook)) == 2


def test_a_breaker_that_opens_for_moments_is_no_outage(ledger: Ledger, fleet: Fleet, webhook: FakeDestination) -> None:
    for _ in range(20):
        breaker(ledger, 12)
        fleet.go(0.5)
        breaker(ledger, 0)
        fleet.go(1)
    assert texts(webhook) == []


def test_a_refused_token_is_told_within_minutes_and_resuming_clears_it(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    breaker(ledger, 0)
    change(ledger, "UPDATE destinations SET paused_at = ?, paused_token = 'print', paused_reason = 'x'", fleet.now)
    fleet.go(2)
    (message,) = texts(webhook)
    assert "paused because it refuses our deliveries" in message
    assert "https://bridge.example/destination" in message
    change(ledger, "UPDATE destinations SET paused_at = NULL, paused_token = NULL")
    fleet.go(3)
    assert "main accepts deliveries again" in texts(webhook)[1]


def test_deliveries_that_nobody_mends_are_no_outage_for_ever(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination
) -> None:
    fleet = make_fleet(size=1, quiet_hours=2)
    die(ledger, range(1, 4), fleet.now)
    fleet.go(150)
    assert [text[:1] for text in texts(webhook)] == ["🔴", "🟢"]
    die(ledger, range(4, 5), fleet.now)
    fleet.go(3)
    assert "1 delivery to main" in texts(webhook)[2]


def test_kinds_and_thresholds_are_the_operator_s(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination
) -> None:
    fleet = make_fleet(size=1, dead=5, kinds=("dead",))
    breaker(ledger, 9)
    die(ledger, range(1, 5), fleet.now)
    fleet.go(30)
    assert texts(webhook) == []
    die(ledger, range(5, 6), fleet.now)
    fleet.go(3)
    assert len(texts(webhook)) == 1


def working_weeks(weeks: int = 4, until: int = START) -> list[int]:
    """An event every ten minutes from 8 to 20 o'clock, Monday to Friday, newest last; the newest is some minutes before `until`."""
    day = until // DAY * DAY
    days = [day - n * DAY for n in range(weeks * 7, -1, -1)]
    times = [
        start + 8 * HOUR_MS + n * 10 * MINUTE for start in days if (start // DAY + 3) % 7 < 5 for n in range(12 * 6)
    ]
    return [at for at in times if at < until]


def test_a_source_is_silent_only_for_longer_than_is_usual_for_it(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination
) -> None:
    fleet = make_fleet(size=2, gather_seconds=0)
    hear(ledger, working_weeks())
    last = one(ledger, "SELECT MAX(received_at) FROM events")[0]
    with ledger.read() as tx:
        usual = usual_gap(tx, "stripe", HOUR_MS)
    assert usual == 60 * HOUR_MS + 10 * MINUTE  # a weekend: Friday 19:50 to Monday 8:00
    fleet.now = last + 2 * usual - 10 * MINUTE
    fleet.go(8)
    assert texts(webhook) == []
    fleet.go(60)
    (message,) = texts(webhook)
    assert "Source stripe was last seen 5 days ago" in message
    assert "usual pause is 3 days" in message
    hear(ledger, [fleet.now], first_id=1_000_000)
    fleet.go(2)
    assert "source stripe is active again" in texts(webhook)[1]


def test_a_busy_source_is_missed_after_two_hours(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination
) -> None:
    fleet = make_fleet(size=1)
    hear(ledger, [START - n * MINUTE for n in range(14 * 24 * 60, 0, -5)])
    fleet.go(110, 300)
    assert texts(webhook) == []
    fleet.go(20, 300)
    assert len(texts(webhook)) == 1


@pytest.mark.parametrize(
    "times",
    [
        [],
        [START - 10 * DAY],
        [START - 20 * DAY + n * MINUTE for n in range(19)],  # too few
        [START - 3 * DAY + n * MINUTE for n in range(200)],  # for too short a time
    ],
    ids=["never", "once", "few", "new"],
)
def test_a_source_of_which_too_little_is_known_is_never_missed(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination, times: list[Any]
) -> None:
    fleet = make_fleet(size=1)
    hear(ledger, times)
    fleet.go(24 * 60, 3600)
    assert texts(webhook) == []


def test_one_outage_of_its_own_does_not_make_a_long_pause_usual(ledger: Ledger) -> None:
    times = [at for at in range(START - 28 * DAY, START, 10 * MINUTE) if not START - 9 * DAY < at < START - 5 * DAY]
    hear(ledger, times)
    with ledger.read() as tx:
        assert usual_gap(tx, "stripe", HOUR_MS) == HOUR_MS


def test_more_refused_than_usual_is_told_with_reasons_and_cleared_when_few_are_again(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination
) -> None:
    fleet = make_fleet(size=2)
    with ledger.write() as tx:
        for hour in range(1, 200):  # a scanner knocks twice an hour
            add_refusals(tx, {("stripe", "missing"): 2}, START - hour * HOUR_MS)
    fleet.go(10)
    with ledger.write() as tx:
        add_refusals(tx, {("stripe", "missing"): 5}, fleet.now)
    fleet.go(10)
    assert texts(webhook) == []
    with ledger.write() as tx:
        add_refusals(tx, {("stripe", "wrong"): 40}, fleet.now)
    fleet.go(10)
    (message,) = texts(webhook)
    assert "requests from source stripe were refused" in message
    assert "wrong ×40" in message
    with ledger.write() as tx:  # it goes on for days, and must not become usual by that
        for hour in range(100):
            add_refusals(tx, {("stripe", "wrong"): 40}, fleet.now + hour * HOUR_MS)
    fleet.go(100 * 60, 1800)
    assert len(texts(webhook)) == 1
    fleet.go(180, 600)
    assert [text[:1] for text in texts(webhook)] == ["🔴", "🟢"]


def test_a_webhook_that_is_down_gets_it_later_and_once_and_meanwhile_it_is_known(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    webhook.answer = lambda _request: (500, {}, b"ada@example.com")
    die(ledger, range(1, 4), fleet.now)
    fleet.go(30)
    tries = len(webhook.requests)
    assert 3 <= tries <= 12  # and less and less often
    with ledger.read() as tx:
        (waiting,) = unsent(tx, ["webhook"])
    assert (waiting.problem, waiting.count) == ("the alert webhook answered 500", 1)
    webhook.answer = lambda _request: (200, {}, b"ok")
    fleet.go(30)
    assert len(webhook.requests) == tries + 1
    with ledger.read() as tx:
        assert unsent(tx, ["webhook"]) == []
        assert len(open_incidents(tx)) == 1


def test_what_was_over_before_it_could_be_told_is_one_message(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    webhook.answer = lambda _request: (404, {}, b"")
    die(ledger, range(1, 4), fleet.now)
    fleet.go(5)
    change(ledger, "UPDATE deliveries SET status = 'delivered'")
    fleet.go(10)
    webhook.requests.clear()
    webhook.answer = lambda _request: (204, {}, b"")
    fleet.go(60)
    (message,) = texts(webhook)
    assert "It ended at" in message
    assert one(ledger, "SELECT COUNT(*) FROM alerts") == (0,)


def test_a_message_whose_worker_was_killed_is_sent_by_another(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet.threads[0], "_tell", lambda: None)  # the first worker decides, and others tell
    die(ledger, range(1, 4), fleet.now)
    for _ in range(4):
        fleet.now += 30_000
        fleet.threads[0].look()
    with ledger.write() as tx:
        assert len(claim_unsent(tx, "webhook", "killed", fleet.now)) == 1
    fleet.go(0.5)
    assert texts(webhook) == []
    fleet.go(3)
    assert len(texts(webhook)) == 1


def test_an_outage_of_everything_is_one_message(
    ledger: Ledger, make_fleet: Callable[..., Fleet], webhook: FakeDestination
) -> None:
    fleet = make_fleet(size=2)
    breaker(ledger, 9)
    hear(ledger, [START - n * MINUTE for n in range(14 * 24 * 60, 0, -5)])
    fleet.now += 121 * MINUTE
    fleet.go(0.5)
    die(ledger, range(1, 4), fleet.now)
    fleet.go(15)
    message = texts(webhook)
    assert (
        len(message) == 2
    )  # the silent source at once; the destination once it was down for ten minutes, with its dead
    assert "stripe was last seen" in message[0]
    assert "main" in message[1]


def wait_in_line(ledger: Ledger, ids: range, at: int, kind: str = "sale", due_at: int | None = None) -> None:
    """Open deliveries of one person, made at `at` and due then unless `due_at` says otherwise."""
    columns = (*DELIVERY[:8], "status", "payload", "created_at", "due_at")
    rows = [(n, n, 1, n, "stripe", kind, "main", f"k{n}", "pending", "{}", at, due_at or at) for n in ids]
    with ledger.write() as tx:
        tx.insert(tables.deliveries, columns, rows)


def test_deliveries_that_no_worker_takes_are_late(ledger: Ledger, fleet: Fleet, webhook: FakeDestination) -> None:
    wait_in_line(ledger, range(1, 4), fleet.now)
    fleet.go(9)
    assert texts(webhook) == []
    fleet.go(3)
    (message,) = texts(webhook)
    assert "3 deliveries are queued" in message
    assert "no worker is alive" in message
    change(ledger, "UPDATE deliveries SET status = 'delivered', due_at = NULL")
    fleet.go(3)
    assert "All clear: deliveries to main are on time again" in texts(webhook)[1]


def test_a_claim_that_nobody_takes_over_is_late_and_workers_that_live_are_counted(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    with ledger.write() as tx:
        register_worker(tx, ("host", "", ""), 1, "", fleet.now + HOUR_MS)
    wait_in_line(ledger, range(1, 2), fleet.now)
    change(ledger, "UPDATE deliveries SET claim = '9.x', claimed_until = ?", fleet.now)
    fleet.go(12)
    (message,) = texts(webhook)
    assert "workers alive: 1" in message


def test_what_waits_for_its_turn_is_not_late(ledger: Ledger, fleet: Fleet, webhook: FakeDestination) -> None:
    wait_in_line(ledger, range(1, 2), fleet.now, kind="lead", due_at=fleet.now + 14 * MINUTE)  # tried, and waits
    wait_in_line(ledger, range(2, 5), fleet.now)  # held by it
    fleet.go(13.5)
    assert texts(webhook) == []


def test_what_waits_for_a_destination_that_is_paused_is_told_as_that_alone(
    ledger: Ledger, fleet: Fleet, webhook: FakeDestination
) -> None:
    wait_in_line(ledger, range(1, 4), fleet.now)
    breaker(ledger, 0)
    change(ledger, "UPDATE destinations SET paused_at = ?, paused_reason = 'x'", fleet.now)
    fleet.go(60)
    (message,) = texts(webhook)
    assert "has been paused manually" in message


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_webhook_that_hangs_delays_nobody_who_asks(ledger: Ledger, webhook: FakeDestination) -> None:
    unblock_sales, answered = threading.Event(), []

    def answer_late(_request: object) -> tuple[int, dict[str, str], bytes]:
        unblock_sales.wait(9)
        answered.append(True)
        return 200, {}, b"{}"

    webhook.answer = answer_late
    thread = AlertThread(
        ledger,
        Detector(AlertTable(gather_seconds=0), ["main"], [], HOLD_SECONDS),
        [WebhookChannel(webhook.url, Proxies(None, {}))],
        None,
    )
    with ledger.read() as tx:
        die(ledger, range(1, 4), tx.now())
    thread.start()
    thread.ask()
    wait_for(lambda: webhook.requests)
    for _ in range(100):
        thread.ask()
    assert answered == []
    unblock_sales.set()
    assert "(dashboard: /failed?status=dead)" in texts(webhook)[0]
    wait_for(lambda: one(ledger, "SELECT told_at FROM alerts")[0])
    thread.stop()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_ledger_is_not_written_while_all_is_well(ledger: Ledger, fleet: Fleet) -> None:
    hear(ledger, working_weeks())
    fleet.go(2)
    version = one(ledger, "PRAGMA data_version")
    rounds = one(ledger, "SELECT value FROM counters WHERE name = 'alerts_round'")
    for _ in range(20):
        fleet.now += 100
        fleet.threads[0].look()
    assert one(ledger, "PRAGMA data_version") == version
    assert one(ledger, "SELECT value FROM counters WHERE name = 'alerts_round'") == rounds
