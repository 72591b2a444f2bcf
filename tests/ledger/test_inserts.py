"""Many rows at once, as each database takes them: nothing is lost or changed on the way, whatever it is made of."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from app.destinations.formats.registry import format_of
from app.errors import LedgerUnavailable
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.inserts import Rows, parts_of
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.ledger.recording.writer import GroupWriter
from app.model import Inbound, Rules
from app.sources.stripe.source import SOURCE as STRIPE
from tests.conftest import PATIENCE_SECONDS
from tests.support.makers import checkout, count, execute_beside, one

ODD = [
    'say "yes"',
    "back\\slash",
    "{braces, commas}",
    "two\nlines\tand a tab",
    "NULL",
    "'; DROP TABLE events; --",
    "é – 漢字 🎉",
    "\\x00ff",
    "%s ? :name",
    "",
]
EVENT = ("id", "event_key", "source", "event_id", "event_type", "outcome", "reason", "received_at", "last_received_at")


def event_rows(number: int) -> list[tuple[Any, ...]]:
    texts = [(f"{ODD[n % len(ODD)]}{n}", ODD[(n + 3) % len(ODD)]) for n in range(number)]
    bodies = [bytes(range(256)) * (n % 3) for n in range(number)]
    return [
        (n + 1, key, "x", key, reason, "ignored", reason, 2**53 + n, 1, reason, body)
        for n, ((key, reason), body) in enumerate(zip(texts, bodies, strict=True))
    ]


@pytest.mark.parametrize("number", [1, 31, 32, 33, 150])
def test_rows_come_back_as_they_went_in(ledger: Ledger, number: int) -> None:
    columns, rows = (*EVENT, "headers", "body"), event_rows(number)
    with ledger.write() as tx:
        tx.insert(tables.events, columns, rows)
    with ledger.read() as tx:
        found = tx.run(f"SELECT {', '.join(columns)} FROM events ORDER BY id").all()
    assert [(*row[:-1], bytes(row[-1])) for row in found] == rows


def test_every_odd_text_is_found_by_itself_alone(ledger: Ledger) -> None:
    with ledger.write() as tx:
        keys = [(text, n) for n, text in enumerate(ODD)]
        tx.insert(tables.dedupe_keys, ("key", "conversion_id"), keys)
    with ledger.read() as tx:
        for n, text in enumerate(ODD):
            condition, value = tx.among("key", [text, "no such key"])
            found = tx.run(f"SELECT conversion_id FROM dedupe_keys WHERE {condition}", value).all()
            assert [tuple(row) for row in found] == [(n,)], text
        condition, value = tx.among("conversion_id", [0, 2, 99])
        found = tx.run(f"SELECT key FROM dedupe_keys WHERE {condition} ORDER BY key", value).all()
        assert {row[0] for row in found} == {ODD[0], ODD[2]}
        condition, value = tx.among("key", [])
        assert tx.run(f"SELECT key FROM dedupe_keys WHERE {condition}", value).all() == []


def test_several_tables_go_together_and_what_is_there_stays(ledger: Ledger) -> None:
    columns = ("kind", "value", "person_id", "seen_at")
    with ledger.write() as tx:
        tx.insert(tables.identifiers, columns, [("email", "a", 1, 1)])
    email = {"kind": "email", "value": "", "person_id": 1, "seen_at": 9}
    with ledger.write() as tx:
        tx.insert_all(
            [
                Rows(tables.persons, [{"id": 1, "created_at": 1}, {"id": 2, "created_at": 1}]),
                Rows(tables.conversions, []),
                Rows(tables.identifiers, [email | {"value": "a"}, email | {"value": "b"}], unless_there=True),
            ],
        )
    with ledger.read() as tx:
        found = tx.run("SELECT value, seen_at FROM identifiers ORDER BY value").all()
    assert [tuple(row) for row in found] == [("a", 1), ("b", 9)]
    assert count(ledger, "persons") == 2


def arrivals(*numbers: int) -> list[Arrival]:
    return [arrival(checkout(number)) for number in numbers]


def arrival(body: bytes) -> Arrival:
    inbound = Inbound(body, {})
    mapped = STRIPE.map(inbound, Rules(accept_test_events=True))
    return Arrival("stripe", mapped, inbound, {}, datetime.now(UTC))


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[GroupWriter]:
    made = GroupWriter(ledger, Policy(Rules(), [Route("main", format_of("events"))]), lambda receipts: None)
    yield made
    made.stop()


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ended_costs_one_answer_and_no_event(
    ledger: Ledger, ledger_url: str, writer: GroupWriter
) -> None:
    first, second = arrivals(1, 2)
    assert writer.record(first).outcome == "sale"
    execute_beside(ledger_url)
    with pytest.raises(LedgerUnavailable, match="the ledger cannot be used now"):
        writer.record(second)
    assert [writer.record(again).outcome for again in (second, first)] == ["sale", "duplicate"]
    assert count(ledger, "events") == 2


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_what_another_committed_while_we_waited_for_its_lock_is_seen(
    ledger: Ledger, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.engine.RETRIES", 1)  # a look from before the lock would end at a unique column
    policy, (other,) = Policy(Rules(), [Route("main", format_of("events"))]), arrivals(1)
    with ledger.write() as tx:
        (mine,) = record(tx, [other], policy)
        pool = ThreadPoolExecutor(1)
        theirs = pool.submit(writer.record, other)
        with pytest.raises(TimeoutError):
            theirs.result(0.5)
    assert mine.outcome == "sale"
    assert theirs.result(PATIENCE_SECONDS).outcome == "duplicate"
    pool.shutdown()
    assert count(ledger, "events") == count(ledger, "deliveries") == 1


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_group_that_waits_for_a_lock_holds_up_no_other(ledger: Ledger) -> None:
    held, free = arrivals(1, 2)
    two = GroupWriter(ledger, Policy(Rules(), [Route("main", format_of("events"))]), lambda receipts: None, writers=2)
    pool = ThreadPoolExecutor(2)
    with ledger.write() as tx:
        tx.lock([held.event_key])
        waits = pool.submit(two.record, held)
        with pytest.raises(TimeoutError):
            waits.result(0.3)
        assert pool.submit(two.record, free).result(PATIENCE_SECONDS).outcome == "sale"
        assert not waits.done()
    assert waits.result(PATIENCE_SECONDS).outcome == "sale"
    two.stop()
    pool.shutdown()
    assert count(ledger, "events") == 2


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_two_writers_who_know_one_person_by_different_identifiers_both_teach(
    ledger: Ledger, writer: GroupWriter
) -> None:
    """None of the identifiers of the one is among those of the other, so no lock on those keeps them apart."""
    policy, pool = Policy(Rules(), [Route("main", format_of("events"))]), ThreadPoolExecutor(1)
    (first,) = arrivals(1)
    by_email = arrival(checkout(2, customer_details={"email": "p1@example.com", "phone": "+351912345678"}, metadata={}))
    by_id = arrival(checkout(3, customer_details={}, metadata={"user_id": "user_1", "clickId": "clk_new"}))
    ledger.transact(lambda tx: record(tx, [first], policy))
    with ledger.write() as tx:
        record(tx, [by_email], policy)
        waits = pool.submit(writer.record, by_id)
        with pytest.raises(TimeoutError):
            waits.result(0.5)
    assert waits.result(PATIENCE_SECONDS).outcome == "sale"
    pool.shutdown()
    assert one(ledger, "SELECT phone, click_first, click_last FROM persons") == ("+351912345678", "clk_1", "clk_new")


def test_rows_go_in_parts_of_few_sizes() -> None:
    sizes = set()
    for many in range(140):
        parts = list(parts_of(range(many)))
        assert [row for part in parts for row in part] == list(range(many))
        sizes |= {len(part) for part in parts}
    assert sizes == {*range(1, 9), 32}
