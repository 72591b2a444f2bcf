"""`bridge status`, `tail`, `pause`, `resume` and `export`."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result

from app.cli.status import _lines
from app.ledger.engine import Ledger
from app.ledger.reading.tail import OVERLAP_SECONDS, Tail
from app.web.factory import create_app
from tests.support.makers import begin, change, checkout, one, settle, signed

Run = Callable[..., Result]


@pytest.fixture
def on_ledger(bridge: Run, ledger_url: str) -> Run:
    return lambda *arguments: bridge(*arguments, DATABASE_URL=ledger_url)


@pytest.fixture
def post(make_settings: Callable[..., Any], ledger: Ledger) -> Iterator[Callable[[bytes], None]]:
    app = create_app(make_settings(), ledger)

    def send(body: bytes) -> None:
        assert app.test_client().post("/webhooks/stripe", **signed(body)).status_code == 200

    yield send
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()


def test_status_shows_what_runs_came_went_and_is_wrong(
    on_ledger: Run, post: Callable[[bytes], None], ledger: Ledger
) -> None:
    empty = on_ledger("status")
    assert empty.exit_code == 0
    assert "No worker is alive" in empty.stdout
    for number in range(3):
        post(checkout(number))
    claimed = begin(ledger)
    settle(ledger, "delivered", claimed=claimed[:1])
    settle(ledger, "permanent", status=422, error="no", claimed=claimed[1:2])
    post(checkout(9, metadata={}, customer_details={}))
    assert on_ledger("pause", "sandbox", "--why", "they migrate").exit_code == 0
    found = json.loads(on_ledger("status", "--json").stdout)
    assert found["running"] is None
    assert found["last_day"] == {"events": 4, "delivered": 1, "dead": 1}
    busy = found | {"last_day": {"events": 100_000, "delivered": 99_999, "dead": 0}}
    assert dict(_lines(busy))["Last 24 hours"].startswith("100,000+ events in, 99,999 delivered, 0 failed")
    counts = {name: count for name, count in found["deliveries"].items() if count}
    assert (counts, found["parked_events"], found["workers_alive"]) == ({"pending": 1, "delivered": 1, "dead": 1}, 1, 0)
    (destination,) = found["destinations"]
    assert (destination["name"], destination["waiting"], destination["paused_reason"]) == (
        "sandbox",
        1,
        "cli: they migrate",
    )
    assert [source["source"] for source in found["sources"]] == ["stripe"]
    assert {"no worker", "paused", "dead", "parked"} <= {problem["kind"] for problem in found["problems"]}
    shown = on_ledger("status").stdout
    for text in (
        "4 events in, 1 delivered, 1 failed",
        "sandbox: paused since",
        "1 queued",
        "stripe: last event",
        "bridge replay",
    ):
        assert text in shown


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_status_names_what_the_ledger_cannot_show(bridge: Run, ledger_url: str, ledger: Ledger) -> None:
    read_only = f"{ledger_url}{'&' if '?' in ledger_url else '?'}options=-c%20default_transaction_read_only%3Don"
    found = json.loads(
        bridge("status", "--json", DATABASE_URL=read_only, REDIS_URL="unix:///nowhere.sock", SANDBOX="1").stdout
    )
    kinds = [problem["kind"] for problem in found["problems"]]
    assert (found["level"], kinds[0], "redis" in kinds) == ("bad", "ledger", True)
    assert "read-only transaction" in found["headline"]


def test_tail_prints_each_conversion_once_with_its_deliveries(
    on_ledger: Run, post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    now = [0.0]
    tail = Tail(ledger, clock=lambda: now[0])
    assert tail.read() == []
    post(checkout(2))
    post(checkout(2, event_id="evt_again"))  # a duplicate is not another conversion
    post(b'{"id": "evt_x", "object": "event", "type": "x"}')
    post(checkout(3, metadata={}, customer_details={}))
    sale, parked = tail.read()
    assert (sale["outcome"], sale["amount"], sale["currency"], sale["email"]) == (
        "sale",
        19.99,
        "USD",
        "p2@example.com",
    )
    assert [(each["destination"], each["status"]) for each in sale["deliveries"]] == [("sandbox", "pending")]
    assert (parked["outcome"], parked["deliveries"]) == ("parked", [])
    for _ in range(3):
        now[0] += OVERLAP_SECONDS
        assert tail.read() == []
    lines = on_ledger("tail", "--since", "1h", "--limit", 3).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["sale", "sale", "parked"]
    assert "19.99 USD" in lines[0]
    assert "sandbox pending" in lines[0]
    (line,) = on_ledger("tail", "--since", "1h", "--limit", 1, "--json").stdout.splitlines()
    assert json.loads(line)["event_id"] == "evt_1"


def test_tail_finds_what_another_transaction_commits_behind_it(post: Callable[[bytes], None], ledger: Ledger) -> None:
    """Ids are drawn before a transaction commits, so on PostgreSQL a lower one may appear after a higher one was read."""
    tail = Tail(ledger)
    for number in (1, 2):
        post(checkout(number))
    (late,) = one(ledger, "SELECT MIN(id) FROM events")
    change(ledger, "UPDATE events SET outcome = 'ignored' WHERE id = ?", late)
    assert [row["event_id"] for row in tail.read()] == ["evt_2"]
    change(ledger, "UPDATE events SET outcome = 'sale' WHERE id = ?", late)
    assert [row["event_id"] for row in tail.read()] == ["evt_1"]


def test_a_destination_is_paused_and_resumed_as_on_its_page(
    on_ledger: Run, post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    paused = on_ledger("pause", "sandbox", "--why", "they migrate")
    assert (paused.exit_code, paused.stdout) == (0, "Paused sandbox.\n")
    assert begin(ledger) == []
    assert one(ledger, "SELECT paused_reason FROM destinations") == ("cli: they migrate",)
    assert "is already paused" in on_ledger("pause", "sandbox").stdout
    assert on_ledger("resume", "sandbox").exit_code == 0
    assert "is not paused" in on_ledger("resume", "sandbox").stdout
    assert len(begin(ledger)) == 1
    assert one(ledger, "SELECT COUNT(*) FROM audit WHERE actor = 'cli' AND subject = 'destination sandbox'") == (2,)
    for command in ("pause", "resume"):
        unknown = on_ledger(command, "sandbx")
        assert unknown.exit_code == 1
        assert "there is no destination called sandbx; choose from sandbox" in unknown.stderr


def test_export_prints_everything_kept_about_a_person(
    on_ledger: Run, post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "permanent", status=422, error="no", answer='{"message": "no"}')
    post(checkout(2))
    post(checkout(3, metadata={"note": "says p1@example.com"}))  # names the first person, and is about another one
    (person,) = one(ledger, "SELECT person_id FROM identifiers WHERE value = 'p1@example.com'")
    change(ledger, "INSERT INTO conflicts (at, event_id, person_id, reason) VALUES (1, 1, ?, 'two ids')", person)
    result = on_ledger("export", "P1@example.com")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["person"]["email"] == "p1@example.com"
    assert {"p1@example.com", "user_1"} <= {each["value"] for each in found["person"]["identifiers"]}
    (event,) = found["events"]
    assert json.loads(event["body"])["data"]["object"]["id"] == "cs_1"
    (conversion,) = found["conversions"]
    assert "sale:stripe:pi_1" in conversion["dedupe_keys"]
    (delivery,) = found["deliveries"]
    assert delivery["payload"]["customerExternalId"] == "user_1"
    assert delivery["attempt_list"][0]["answer_body"] == '{"message": "no"}'
    assert found["conflicts"][0]["reason"] == "two ids"
    assert found["mentioned_in"] == [one(ledger, "SELECT id FROM events WHERE event_id = 'evt_3'")[0]]
    for foreign in ("p2@example.com", "p3@example.com", "user_3"):
        assert foreign not in result.stdout
    assert one(ledger, "SELECT actor, action, subject FROM audit") == ("cli", "export", f"person {person}")
    unknown = on_ledger("export", "nobody@example.com")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "no person or event matches" in unknown.stderr


def test_export_finds_somebody_whom_only_an_ignored_event_names(on_ledger: Run, post: Callable[[bytes], None]) -> None:
    post(b'{"id": "evt_1", "object": "event", "type": "x", "data": {"object": {"email": "solo@example.com"}}}')
    found = json.loads(on_ledger("export", "solo@example.com").stdout)
    assert found["person"] is None
    assert [event["event_id"] for event in found["events"]] == ["evt_1"]
