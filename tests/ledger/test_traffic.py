"""What charts count: by hour, kept and counted now, whatever happens to the rows later."""

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.traffic import hours
from app.ledger.traffic import series as traffic
from app.ledger.traffic.histogram import BOUNDS, part_in_sql, percentile
from app.ledger.traffic.hours import count_next
from app.ledger.traffic.series import Bar, series
from app.ledger.traffic.spans import MINUTE_MS, SPANS, edges
from app.ledger.traffic.tally import HOUR_MS
from tests.support.makers import change, count, one
from workers.counting import Counting

DAY_MS = 24 * HOUR_MS
NOW = int(datetime(2026, 4, 10, 12, 34, 56, tzinfo=UTC).timestamp() * 1000)


def add(ledger: Ledger, at: int, outcome: str = "sale", *sent: tuple[str, str, int | None]) -> None:
    """An event received at `at`, and its deliveries: destination, status, and milliseconds until delivered."""
    with ledger.write() as tx:
        event, conversion, *ids = tx.reserve_ids(2 + len(sent))
        columns = (
            *("id", "event_key", "source", "event_id", "event_type", "outcome", "reason", "received_at"),
            *("last_received_at", "headers", "body"),
        )
        values = (event, f"stripe:{event}", "stripe", f"{event}", "x", outcome, "", at, at, "{}", b"")
        tx.insert(tables.events, columns, [values])
        wide = (
            *("id", "conversion_id", "person_id", "event_id", "source", "kind", "destination", "dedupe_key", "status"),
            *("payload", "created_at", "delivered_at"),
        )
        rows = [
            (i, conversion, 1, event, "stripe", "sale", name, "k", status, "{}", at, at + took if took else None)
            for i, (name, status, took) in zip(ids, sent, strict=True)
        ]
        tx.insert(tables.deliveries, wide, rows)


def bars_of(ledger: Ledger, span: str, now: int = NOW, zone: str = "UTC") -> list[Bar]:
    with ledger.read() as tx:
        return series(tx, edges(now, SPANS[span], ZoneInfo(zone)), SPANS[span].size, now)


def totals(bars: list[Bar]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    events: dict[str, int] = {}
    sent: dict[str, dict[str, int]] = {}
    for bar in bars:
        for name, number in bar.part.events.items():
            events[name] = events.get(name, 0) + number
        for destination, each in bar.part.sent.items():
            known = sent.setdefault(destination, {})
            for name, number in each.counts.items():
                known[name] = known.get(name, 0) + number
    return events, sent


@pytest.fixture
def clock(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the time that counting goes by."""
    times = {"now": NOW}
    monkeypatch.setattr("app.ledger.transaction.Tx.now", lambda _tx: times["now"])

    def set_to(now: int) -> None:
        times["now"] = now

    return set_to


def test_each_span_shows_what_lies_in_it_and_where(ledger: Ledger) -> None:
    ages = {"hour": 7 * MINUTE_MS, "6h": 5 * HOUR_MS, "day": 20 * HOUR_MS, "week": 6 * DAY_MS, "30d": 29 * DAY_MS}
    for age in sorted((*ages.values(), 89 * DAY_MS, 100 * DAY_MS), reverse=True):  # IDs ascend with time
        add(ledger, NOW - age, "sale", ("main", "delivered", 40))
    for number, span in enumerate(SPANS, 1):
        bars = bars_of(ledger, span)
        assert sum(bar.part.events["sale"] for bar in bars) == number, span
        assert bars[-1].start <= NOW < bars[-1].end
        assert all(bar.is_whole for bar in bars)
        for bar in bars:
            inside = [age for age in (*ages.values(), 89 * DAY_MS) if bar.start <= NOW - age < bar.end]
            assert bar.part.events.get("sale", 0) == len(inside) == bar.part.sent["main"].counts["delivered"]


def test_kept_hours_give_the_same_bars_as_counting_all_rows(ledger: Ledger, clock: Callable[[int], None]) -> None:
    random = Random(7)
    outcomes = ("sale", "lead", "duplicate", "ignored", "parked", "pending")
    for age in sorted((random.randrange(40 * DAY_MS) for _ in range(150)), reverse=True):
        deliveries = [
            (name, random.choice(("delivered", "dead", "shadow")), random.randrange(1, 9_000_000))
            for name in ("main", "crm")
        ]
        add(ledger, NOW - age, random.choice(outcomes), *deliveries)
    with ledger.read() as tx:
        before = {span: series(tx, edges(NOW, SPANS[span]), SPANS[span].size, NOW) for span in SPANS}
    assert sum(totals(before["90d"])[0].values()) == 150
    counting = Counting(ledger)
    assert 39 * 24 <= counting.look() <= 41 * 24
    assert count_next(ledger) == 0
    assert counting.look() == 0
    with ledger.read() as tx:
        for span, bars in before.items():
            assert series(tx, edges(NOW, SPANS[span]), SPANS[span].size, NOW) == bars
    change(ledger, "DELETE FROM events")
    change(ledger, "DELETE FROM deliveries")
    lost = sum(before["day"][n].part.events[o] for n in range(24) for o in outcomes)
    assert sum(totals(bars_of(ledger, "90d"))[0].values()) >= 150 - lost


def test_an_hour_is_counted_again_as_it_ages_unless_rows_are_gone(ledger: Ledger, clock: Callable[[int], None]) -> None:
    hour = NOW // HOUR_MS * HOUR_MS - HOUR_MS
    add(ledger, hour + 1000, "sale", ("main", "retrying", None))
    add(ledger, hour + 2000, "parked")
    assert count_next(ledger) == 1
    change(ledger, "UPDATE deliveries SET status = 'delivered', delivered_at = created_at + 50")
    clock(NOW + DAY_MS)
    while count_next(ledger):
        pass
    later = NOW + 2 * DAY_MS
    assert totals(bars_of(ledger, "week", later)) == ({"sale": 1, "parked": 1}, {"main": {"delivered": 1}})
    change(ledger, "DELETE FROM deliveries")
    change(ledger, "DELETE FROM events WHERE outcome = 'sale'")
    clock(later + 8 * DAY_MS)
    assert count_next(ledger) > 0
    while count_next(ledger):
        pass
    assert totals(bars_of(ledger, "30d", later + 8 * DAY_MS)) == (
        {"sale": 1, "parked": 1},
        {"main": {"delivered": 1}},
    )
    clock(later + 200 * DAY_MS)
    add(ledger, later + 200 * DAY_MS - 2 * HOUR_MS, "lead")
    while count_next(ledger):
        pass
    assert one(ledger, "SELECT MIN(hour) FROM hourly_counts")[0] >= later + 100 * DAY_MS
    assert count(ledger, "hourly_counts") <= hours.KEPT_HOURS


def test_more_than_can_be_counted_now_is_said_and_comes_once_it_is_kept(
    ledger: Ledger, clock: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "LIVE_EVENTS", 5)
    for number in range(20, 0, -1):
        add(ledger, NOW - 3 * DAY_MS - number * HOUR_MS)
    for number in range(20, 0, -1):
        add(ledger, NOW - number * 20 * MINUTE_MS)
    bars = bars_of(ledger, "week")
    assert 5 <= sum(totals(bars)[0].values()) < 40
    assert not all(bar.is_whole for bar in bars)
    while count_next(ledger):
        pass
    bars = bars_of(ledger, "week")
    assert totals(bars)[0] == {"sale": 40}
    assert all(bar.is_whole for bar in bars)
    for _ in range(6):
        add(ledger, NOW - 1000)
    assert [bar.is_whole for bar in bars_of(ledger, "day")][-2:] == [True, False]


def test_bars_begin_on_round_times_of_the_readers_zone() -> None:
    minutes = edges(NOW, SPANS["hour"])
    assert minutes == edges(NOW + 999, SPANS["hour"])
    assert {b - a for a, b in pairwise(minutes)} == {2 * MINUTE_MS}
    for name in ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"):
        days = edges(NOW, SPANS["30d"], ZoneInfo(name))
        assert len(days) == 31
        assert days[-2] <= NOW < days[-1]
        assert {datetime.fromtimestamp(at / 1000, ZoneInfo(name)).strftime("%H:%M") for at in days} == {"00:00"}, name
    india = edges(NOW, SPANS["90d"], ZoneInfo("Asia/Kolkata"))
    assert {at % HOUR_MS for at in india} == {0}
    assert len(set(india)) == 91


def part_of(milliseconds: int) -> int:
    return bisect_right(BOUNDS, milliseconds)


def test_percentiles_are_within_an_eighth(ledger: Ledger) -> None:
    random = Random(3)
    took = sorted(int(random.lognormvariate(6, 2)) for _ in range(500))
    counts: dict[int, int] = {}
    for milliseconds in took:
        counts[part_of(milliseconds)] = counts.get(part_of(milliseconds), 0) + 1
    for share in (0.5, 0.95):
        exact = took[int(len(took) * share)] / 1000
        assert percentile(counts, share) == pytest.approx(exact, rel=0.125)
    assert percentile({}, 0.5) is None
    values = [-5, 0, 1, BOUNDS[-1], *BOUNDS[::9], *(bound - 1 for bound in BOUNDS[::7])]
    for value in values:
        assert one(ledger, f"SELECT {part_in_sql('x')} FROM (SELECT {value} AS x) n")[0] == part_of(value)
