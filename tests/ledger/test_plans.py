"""Every statement that runs often goes by an index, on a ledger with tens of thousands of rows: EXPLAIN says so.

The statements are not copied here: the functions run, and what they send to the database is explained.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event

from app.config.bridge_toml import AlertTable
from app.config.settings import Settings
from app.destinations.formats.registry import format_of
from app.ledger.actions.replay import discard, replay
from app.ledger.alerting.rhythm import silence
from app.ledger.credit import story
from app.ledger.engine import Ledger
from app.ledger.forwarding import unidentified
from app.ledger.forwarding.breaker import destination_state, ensure_destination
from app.ledger.forwarding.claims import claim, defer_blocked, drop_claims, due_since, has_due, return_unsent
from app.ledger.forwarding.outcomes import Outcome, finish
from app.ledger.forwarding.sweep import (
    claims_of,
    expired_claims,
    heartbeat,
    is_ahead,
    register_worker,
    set_back,
    silent_workers,
    stop_worker,
    take_over,
    workers_of,
)
from app.ledger.parked.reading import ParkedSelection, parked_page
from app.ledger.reading import deliveries, events, filters, first_events, persons, search, shadow
from app.ledger.reading.by_key import known_events, standings
from app.ledger.reading.money import refunds
from app.ledger.reading.money.stake import Stakes
from app.ledger.reading.sandbox import live_conversions
from app.ledger.reading.summary import overview as reading_overview
from app.ledger.reading.summary import stats
from app.ledger.reading.summary.problems import _newest_shown
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.ledger.schema import upgrade
from app.ledger.traffic.hours import next_due
from app.ledger.traffic.series import series
from app.ledger.traffic.spans import SPANS, edges
from app.ledger.transaction import Tx
from app.model import AttemptResult, Inbound, Rules
from app.sources.stripe.source import SOURCE as STRIPE
from app.sources.typeform.source import SOURCE as TYPEFORM
from app.web.factory import create_app
from bench import pages, year
from bench.backlog import fill
from tests.conftest import _execute, _with_database
from tests.faults.producer import make_pile
from tests.support import stripe_world as world
from tests.support.plans import nodes, watched

ROWS = 30_000
HERE = ("here", "boot 1", "pid:[1]")
NAMES = ["stripe", "typeform"]
RULES = Rules(accept_test_events=True)
POLICY = Policy(RULES, [Route("main", format_of("events"))], person_hold_seconds=20, purchase_hold_seconds=90)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger of ROWS purchases, of which some are dead, wait or are due; with fresh statistics."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'ledger.db'}"
    else:
        server = request.getfixturevalue("postgres")
        _execute(server, "CREATE DATABASE plans")
        url = _with_database(server, "plans")
    ledger = Ledger(url)
    upgrade(ledger)
    year.fill(url, ROWS, due_each=200)
    with ledger.write() as tx:
        ensure_destination(tx, "main", "print")
    yield ledger
    ledger.close()
    if request.param == "postgresql":
        _execute(server, "DROP DATABASE plans WITH (FORCE)")


def take(ledger: Ledger, source: Any, bodies: Sequence[bytes]) -> list[str]:
    """Records events as intake does, in one transaction; their outcomes."""
    arrivals = []
    for body in bodies:
        inbound = Inbound(body, {"content-type": "application/json"})
        name = "stripe" if source is STRIPE else "typeform"
        arrivals.append(Arrival(name, source.map(inbound, RULES), inbound, {}, datetime.now(UTC)))
    return [r.outcome for r in ledger.transact(lambda tx: record(tx, arrivals, POLICY))]


def test_recording_goes_by_index(large: Ledger) -> None:
    pile = make_pile("plans", 60, 5)
    with watched(large):
        for source, name in ((TYPEFORM, "typeform"), (STRIPE, "stripe")):
            bodies = [one.body for one in pile.events if one.source == name]
            assert set(take(large, source, bodies)) <= {"sale", "lead", "duplicate"}
            assert set(take(large, source, bodies)) == {"duplicate"} or name == "typeform"


def test_a_subscription_and_its_renewal_are_recorded_by_index(large: Ledger) -> None:
    for _ in range(3):
        w = world.World(old=False)
        session = w.session(mode="subscription", invoice=w.invoice_id, subscription=w.sub, payment_intent=None)
        with watched(large):
            first = world.body("invoice.paid", w.invoice(4900, "subscription_create", w.invoice_id))
            renewal = world.body("invoice.paid", w.invoice(4900, "subscription_cycle", f"in_renewal{w.invoice_id}"))
            take(large, STRIPE, [first])
            take(large, STRIPE, [world.body("checkout.session.completed", session)])
            assert take(large, STRIPE, [renewal]) == ["sale"]


def claim_all(tx: Tx, token: str, limit: int = 32) -> list[Any]:
    now = tx.now()
    return claim(tx, "main", token, limit=limit, now=now, claim_ms=50_000, hold_ms=900_000, rate=10_000.0)


def test_claiming_and_finishing_go_by_index(large: Ledger) -> None:
    with watched(large):
        with large.read() as tx:
            now = tx.now()
            assert has_due(tx, "main", now)
            assert due_since(tx, "main", now, now=now, hold_ms=900_000)
        with large.write() as tx:
            claimed = claim_all(tx, "1.1")
            assert len(claimed) == 32
            now = tx.now()
            answers: list[tuple[AttemptResult, int, int | None]] = [
                ("delivered", 200, None),
                ("unknown", 500, now),
                ("permanent", 400, None),
            ]
            outcomes = [
                Outcome(one, result, now, 5, status, "why", "{}", "{}", due_at)
                for one, (result, status, due_at) in zip(claimed[:24], answers * 8, strict=True)
            ]
            finish(tx, "main", outcomes, now=now, token_print="print")
            return_unsent(tx, claimed[24:])
            drop_claims(tx, ["1.1", "1.2"])
            defer_blocked(tx, "main", now=now, hold_ms=900_000)
        with large.write() as tx:
            tx.run("UPDATE destinations SET failures = 99")
            assert claim_all(tx, "1.3") != [], "a probe"
            assert claim_all(tx, "1.4") == [], "one at a time"
            return_unsent(tx, [])
            tx.run("UPDATE destinations SET failures = 0")
            tx.run("UPDATE deliveries SET claim = NULL WHERE claim IS NOT NULL")
            destination_state(tx, "main")


def test_sweeping_goes_by_index(large: Ledger) -> None:
    with watched(large), large.write() as tx:
        worker = register_worker(tx, HERE, 1, "1", tx.now())
        claim_all(tx, f"{worker}.1", 8)
        later = tx.now() + 100_000
        assert len(claims_of(tx, [worker])) == 8
        stale = expired_claims(tx, later)
        assert take_over(tx, stale, now=later) >= 8
        heartbeat(tx, worker, later)
        workers_of(tx, HERE)
        silent_workers(tx, later)
        assert is_ahead(tx, "main", tx.now()), "what was taken over then is of a time to come"
        set_back(tx, ["main"], now=tx.now(), longest_claim_ms=50_000)
        stop_worker(tx, worker, later)
        unidentified.has_unidentified(tx, "stripe")
        unidentified.claim_unidentified(tx, "stripe", 10)


LISTS: dict[str, Callable[[Tx], object]] = {
    "deliveries": lambda tx: [
        deliveries.deliveries(tx, status=s, before=before, limit=50)
        for s in ("pending", "retrying", "delivered", "dead", "discarded")
        for before in (None, 50_000)
    ],
    "all deliveries": lambda tx: deliveries.deliveries(tx, limit=50),
    "events": lambda tx: [
        events.events_that_match(tx, filters.EventFilter(outcome=o, destination=d), NAMES, before=b, limit=50)
        for o in ("sale", "parked", None)
        for d in (None, "main", "nowhere")
        for b in (None, 50_000)
    ],
    "one delivery": lambda tx: deliveries.delivery(tx, dead(tx)),
    "the page of a delivery": lambda tx: [deliveries.story(tx, dead(tx)), deliveries.attempts(tx, dead(tx))],
    "one event": lambda tx: [
        of_a_sale(events.event(tx, year.ids_of(11)["event"])),
        of_a_sale(events.event(tx, f"stripe:evt_{year.tail_of(11)}")),
        events.event(tx, "stripe:evt_none"),
    ],
    "one person": lambda tx: person_page(tx, year.ids_of(11)["person"]),
    "why a purchase is not credited": lambda tx: [
        not_empty(story.story_of_person(tx, year.BUYER)),
        not_empty(story.story_of_conversion(tx, year.ids_of(11)["conversion"])),
        *(
            not_empty(story.story_of(tx, text, NAMES))
            for text in (f"pi_{year.tail_of(11)}", f"p{year.tail_of(11)}@example.com")
        ),
        story.story_of(tx, "nobody", NAMES),
    ],
    "overview": lambda tx: [
        reading_overview.counts(tx),
        reading_overview.has_events(tx),
        reading_overview.oldest_waiting(tx),
        reading_overview.timing(tx),
        reading_overview.last_events(tx, NAMES),
        reading_overview.last_day(tx),
    ],
    "charts": lambda tx: [
        series(tx, edges(tx.now(), span), span.size, tx.now()) for span in (SPANS["hour"], SPANS["90d"])
    ],
    "money at stake": lambda tx: [
        *(Stakes().of_status(tx, status, 1) for status in ("dead", "retrying", "pending")),
        Stakes().of_waiting(tx, "main", 1),
        Stakes().of_dead(tx, "main", 1, 1),
        Stakes().of_parked(tx, 1),
        deliveries.at_stake(tx, filters.Filter(), NAMES),
    ],
    "what lists offer and add": lambda tx: [
        first_events.names_of_sources(tx),
        refunds.refunded(tx, [3, 8, 18]),
    ],
    "hours that are due": lambda tx: next_due(tx, tx.now()),
    "sources": lambda tx: reading_overview.activity(tx, NAMES),
    "a week of shadow mode": lambda tx: shadow.week(tx, "main", {"sale", "lead"}, None),
    "the set-up of a source": lambda tx: [
        first_events.has_real_event(tx, ["nowhere", *NAMES]),
        [
            (first_events.first_event(tx, n), first_events.last_event(tx, n), first_events.last_test(tx, n))
            for n in NAMES
        ],
    ],
    "search": lambda tx: [
        search.deliveries_of(tx, search.find(tx, text, NAMES))
        for text in ("ada@example.com", "user_00000000", "pi_0000", "evt_00000000", "12", "+4915112345678", "pat exa")
    ],
    "search of a viewer": lambda tx: [
        search.deliveries_of(tx, search.find(tx, text, NAMES, whole_addresses=True))
        for text in ("ada@example.com", "user_0000", "o0000", "clk_0000")
    ],
    "failed": lambda tx: [
        (
            deliveries.failed(tx, f, NAMES),
            deliveries.groups(tx, f, NAMES),
            deliveries.count(tx, f, NAMES),
        )
        for f in (
            filters.Filter(),
            filters.Filter(source="stripe", code=422, since=1),
            filters.Filter(text="user_0000"),
        )
    ],
    "bulk replay": lambda tx: [
        deliveries.ids(tx, filters.Filter(("dead",), "stripe", since=1), NAMES, limit=500),
        replay(tx, dead(tx), actor="test"),
        discard(tx, dead(tx), actor="test"),
    ],
    "reconcile and backfill": lambda tx: [
        standings(tx, ["sale:stripe:pi_00000000", "sale:stripe:none"]),
        known_events(tx, ["stripe:evt_00000000", "stripe:evt_none"]),
    ],
}


def of_a_sale(found: dict[str, Any] | None) -> Any:
    assert found is not None
    assert found["deliveries"]
    return found


def person_page(tx: Tx, person_id: int) -> Any:
    person = persons.person(tx, person_id)
    assert person is not None
    assert persons.journey(tx, person)
    assert persons.events_of(tx, person_id)
    return person


def not_empty(result: story.Story) -> story.Story:
    assert not result.is_empty
    return result


def dead(tx: Tx) -> int:
    return int(tx.run("SELECT id FROM deliveries WHERE status = 'dead' ORDER BY id DESC LIMIT 1").scalar_one())


@pytest.mark.parametrize("name", LISTS)
def test_lists_and_searches_go_by_index(large: Ledger, name: str) -> None:
    with watched(large), large.write() as tx:
        LISTS[name](tx)


BUYERS = filters.Found([year.BUYER, year.ids_of(11)["person"], year.ids_of(12)["person"]])
NEWEST: dict[str, tuple[Callable[[Tx], object], str]] = {
    "deliveries found by a search": (
        lambda tx: search.deliveries_of(tx, BUYERS, 20),
        f"SELECT id FROM deliveries WHERE person_id IN ({', '.join(map(str, BUYERS.person_ids))}) ORDER BY id DESC LIMIT 20",
    ),
    "the events of a person": (
        lambda tx: [entry["id"] for entry in persons.events_of(tx, year.BUYER, 20)],
        f"SELECT id FROM events WHERE person_id = {year.BUYER} ORDER BY id DESC LIMIT 20",
    ),
    "people by an ID that nobody has": (
        lambda tx: persons.search(tx, "user_none", NAMES, whole_addresses=False, limit=20)[0],
        "SELECT id FROM persons WHERE customer_id = 'user_none'",
    ),
    "live conversions in the sandbox": (
        lambda tx: [live_conversions(tx)[0]],
        "SELECT COUNT(*) FROM deliveries WHERE destination = 'sandbox'",
    ),
    "parked events of a source that has none": (
        lambda tx: parked_page(tx, ParkedSelection(source="clerk"), limit=20)[0],
        "SELECT id FROM events WHERE outcome = 'parked' AND source = 'clerk'",
    ),
    "parked events of a source": (
        lambda tx: [row.id for row in parked_page(tx, ParkedSelection(source="stripe"), limit=20)[0]],
        "SELECT id FROM events WHERE outcome = 'parked' AND source = 'stripe' ORDER BY id DESC LIMIT 20",
    ),
}


@pytest.mark.parametrize("name", NEWEST)
def test_the_newest_rows_are_found_without_reading_all_of_a_person_or_source(large: Ledger, name: str) -> None:
    vacuum(large)
    read, exact = NEWEST[name]
    sent: dict[str, Any] = {}

    def keep(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        sent[statement] = values

    with large.read() as tx:
        expected = list(tx.run(exact).scalars())
        event.listen(large.engine, "before_cursor_execute", keep)
        try:
            assert read(tx) == expected
        finally:
            event.remove(large.engine, "before_cursor_execute", keep)
    with large.engine.connect() as connection:
        for statement, values in sent.items():
            if large.is_sqlite:
                plan = "".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values))
                assert not re.search(
                    r"SCAN (deliveries|events|conversions|identifiers)|ix_events_(source|outcome)", plan
                ), plan
            else:
                ((plan,),) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
                assert max(map(rows_read, nodes(plan[0]["Plan"]))) < 250, statement


BEHIND: dict[str, Callable[[Tx], object]] = {
    "deliveries by status": lambda tx: deliveries.deliveries(tx, status="delivered", limit=20),
    "deliveries by status and source": lambda tx: (
        deliveries.failed(tx, filters.Filter(("delivered",), "typeform"), NAMES, limit=20).rows
    ),
    "events by outcome": lambda tx: (
        events.events_that_match(tx, filters.EventFilter(outcome="sale"), NAMES, limit=20).rows
    ),
    "events by source": lambda tx: (
        events.events_that_match(tx, filters.EventFilter(source="typeform"), NAMES, limit=20).rows
    ),
    "delivery times": lambda tx: reading_overview.timing(tx)["sample"],
    "the last event of each source": lambda tx: reading_overview.last_events(tx, ["typeform", "stripe"]),
    "the share of what is unattributed": _newest_shown,
    "what a silent source sent": lambda tx: [
        first_events.last_event(tx, "stripe"),
        silence(tx, "stripe", AlertTable(), tx.now()),
        events.newest_bodies(tx, "stripe", "checkout.session.completed"),
    ],
}


@pytest.mark.parametrize("large", ["postgresql"], indirect=True)
@pytest.mark.parametrize("name", BEHIND)
def test_what_a_long_backlog_hides_is_found_without_reading_the_backlog(large: Ledger, name: str) -> None:
    """The statistics say that what is asked for is common, so PostgreSQL expects to meet it soon on any way."""
    vacuum(large)
    sent: dict[str, Any] = {}

    def keep(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        sent[statement] = values

    with large.engine.connect() as connection:  # it is rolled back
        tx = Tx(connection, is_sqlite=False, clock=time.time)
        first = year.ids_of(ROWS - 5000)["event"]
        tx.run("UPDATE deliveries SET status = 'pending' WHERE id >= ?", first)
        tx.run("UPDATE events SET outcome = 'ignored', source = 'other' WHERE id >= ?", first)
        event.listen(large.engine, "before_cursor_execute", keep)
        try:
            assert BEHIND[name](tx)
        finally:
            event.remove(large.engine, "before_cursor_execute", keep)
        for statement, values in sent.items():
            ((plan,),) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
            most = filters.SCAN + 1 if "OFFSET" in statement else 2500  # how far a page looks, by an index alone
            assert max(map(rows_read, nodes(plan[0]["Plan"]))) < most, statement


def test_the_pages_of_a_search_with_a_filter_show_every_match_once(large: Ledger) -> None:
    criteria = filters.EventFilter(outcome="parked", text="user_0")
    shown: list[int] = []
    lengths: list[int] = []
    before = None
    with large.read() as tx:
        people = search.find(tx, criteria.text, NAMES).person_ids
        assert year.BUYER in people
        condition, value = tx.among("person_id", people)
        statement = f"SELECT id FROM events WHERE outcome = 'parked' AND {condition} ORDER BY id DESC"
        expected = list(tx.run(statement, value).scalars())
        while True:
            page = events.events_that_match(tx, criteria, NAMES, before=before, limit=15)
            shown += [row["id"] for row in page.rows]
            lengths.append(len(page.rows))
            before = page.next_before
            if before is None:
                break
    assert shown == expected
    assert min(lengths[:-1]) < 15, "some pages stop before they are full"


def rows_read(node: dict[str, Any]) -> float:
    """By one node of a plan, from a table or an index."""
    per_loop = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return float(per_loop * node["Actual Loops"]) if "Index Name" in node or "Relation Name" in node else 0.0


def vacuum(ledger: Ledger) -> None:
    """As autovacuum does: the tests before changed rows, of which an index alone says too little."""
    if not ledger.is_sqlite:
        with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def test_every_page_goes_by_index(large: Ledger, make_settings: Callable[..., Settings]) -> None:
    """The benchmark names them all, with the filters that could cost most: see test_the_benchmark_asks_for_every_page."""
    vacuum(large)
    app = create_app(make_settings(DASHBOARD_PASSWORD=pages.PASSWORD, API_TOKEN=pages.API_TOKEN), large)
    client = app.test_client()
    client.post("/login", data={"password": pages.PASSWORD, "name": "Grace"})
    explained: set[str] = set()
    try:
        for path in pages.paths(ROWS):
            with watched(large, counting=True, explained=explained):
                answer = client.get(path, headers=pages.API, follow_redirects=True)
            assert answer.status_code in (200, 422), path
    finally:
        app.extensions["writer"].stop()
        app.extensions["refusals"].stop()


def test_the_counts_of_metrics_read_no_table(large: Ledger) -> None:
    vacuum(large)
    with watched(large, counting=True), large.read() as tx:
        found = stats.stats(tx)
    assert found["deliveries"]["delivered"] > ROWS * 0.9


def test_a_backlog_that_the_statistics_know_nothing_of_is_claimed_person_by_person(postgres: str) -> None:
    """An outage after a quiet night: when the server last looked, nothing was open."""
    _execute(postgres, "CREATE DATABASE quiet")
    url = _with_database(postgres, "quiet")
    ledger = Ledger(url)
    upgrade(ledger)
    year.fill(url, ROWS)
    with ledger.write() as tx:
        tx.connection.exec_driver_sql(
            "UPDATE deliveries SET status = 'delivered', due_at = NULL WHERE due_at IS NOT NULL"
        )
        tx.connection.exec_driver_sql("ANALYZE")
    fill(url, 500)
    used: list[str] = []

    def note(
        connection: Connection, _cursor: object, statement: str, values: Any, _context: object, _many: bool
    ) -> None:
        if "NOT EXISTS" in statement or "SET due_at = LEAST" in statement:
            cursor = connection.connection.cursor()
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
            row = cursor.fetchone()
            assert row is not None
            used.extend(n["Index Name"] for n in nodes(row[0][0]["Plan"]) if n.get("Alias", "")[:1] == "e")

    event.listen(ledger.engine, "before_cursor_execute", note)
    with ledger.write() as tx:
        ensure_destination(tx, "main", "print")
        assert len(claim_all(tx, "1.1")) == 32
        defer_blocked(tx, "main", now=tx.now(), hold_ms=900_000)
    ledger.close()
    _execute(postgres, "DROP DATABASE quiet WITH (FORCE)")
    assert set(used) == {"ix_deliveries_person_open"}
    assert len(used) >= 3


def test_a_statement_that_reads_a_whole_table_is_found(large: Ledger) -> None:
    """The test of the test."""
    for statement in (
        "SELECT id FROM deliveries WHERE last_status = 422",
        "SELECT id FROM events WHERE event_type = 'x' ORDER BY received_count",
        "UPDATE deliveries SET held = 0 WHERE last_error = 'x'",
    ):
        with pytest.raises(AssertionError, match=r"SCAN|Seq Scan"), watched(large), large.write() as tx:
            tx.run(statement)
    if large.is_sqlite:  # which finds both sides of an OR by index
        return
    statement = (
        "SELECT id FROM deliveries WHERE conversion_id = 58 OR conversion_id IN"
        " (SELECT conversion_id FROM refunds WHERE sale_id = 58) ORDER BY id LIMIT 50"
    )
    with pytest.raises(AssertionError, match="all of deliveries"), watched(large), large.write() as tx:
        tx.run(statement)
