"""When to try again."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model import AttemptResult
from workers.retry import due_after, retry_after

NOW = datetime(2026, 4, 10, 12, 0, 0, tzinfo=UTC)
NOW_MS = 1_000_000
SCHEDULE = (5.0, 30.0, 120.0)
DAY = 86_400


@pytest.mark.parametrize("result", ["transient", "unknown"])
def test_each_failure_waits_for_its_place_in_the_schedule(result: AttemptResult) -> None:
    waits = [due_after(result, tries, SCHEDULE, now_ms=NOW_MS, dice=0.5) for tries in (1, 2, 3)]
    assert waits == [NOW_MS + 5_000, NOW_MS + 30_000, NOW_MS + 120_000]


def test_after_the_last_of_the_schedule_there_is_none() -> None:
    assert due_after("transient", 4, SCHEDULE, now_ms=NOW_MS, dice=0.5) is None
    assert due_after("unknown", 40, SCHEDULE, now_ms=NOW_MS, dice=0.5) is None
    assert due_after("transient", 4, SCHEDULE, now_ms=NOW_MS, dice=0.5, retry_after_seconds=10) is None


def test_what_is_over_has_no_next_attempt() -> None:
    over: tuple[AttemptResult, ...] = ("delivered", "permanent")
    for result in over:
        assert due_after(result, 1, SCHEDULE, now_ms=NOW_MS, dice=0.5, retry_after_seconds=60) is None


@pytest.mark.parametrize("result", ["unauthorized", "redirected"])
def test_a_refused_configuration_costs_no_attempt_and_stays_due(result: AttemptResult) -> None:
    assert due_after(result, 99, SCHEDULE, now_ms=NOW_MS, dice=0.5) == NOW_MS


@given(dice=st.floats(0, 1), tries=st.integers(1, 3))
def test_jitter_stays_within_a_fifth(dice: float, tries: int) -> None:
    due = due_after("transient", tries, SCHEDULE, now_ms=NOW_MS, dice=dice)
    assert due is not None
    assert 0.8 * SCHEDULE[tries - 1] * 1000 - 1 <= due - NOW_MS <= 1.2 * SCHEDULE[tries - 1] * 1000 + 1


def test_jitter_reaches_both_ends() -> None:
    assert due_after("transient", 2, SCHEDULE, now_ms=0, dice=0.0) == 24_000
    assert due_after("transient", 2, SCHEDULE, now_ms=0, dice=1.0) == 36_000


def test_retry_after_is_a_floor_and_at_most_a_day() -> None:
    def wait(seconds: float) -> int | None:
        return due_after("transient", 1, SCHEDULE, now_ms=0, dice=0.5, retry_after_seconds=seconds)

    assert [wait(0), wait(4), wait(60), wait(DAY), wait(DAY + 1), wait(9e9)] == [
        5_000,
        5_000,
        60_000,
        DAY * 1000,
        DAY * 1000,
        DAY * 1000,
    ]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 400, 999_999_999),
        (format_datetime(NOW.replace(minute=2), usegmt=True), 120),
        ("Fri, 10 Apr 2026 14:02:00 +0200", 120),
        ("Fri, 10 Apr 2026 12:02:00 -0000", 120),
        ("Fri, 10 Apr 2026 11:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("\xb2", None),
        ("Fri, 99 Apr 2026 99:99:99 GMT", None),
        ("Fri, 10 Apr 99999999999999999999 12:00:00 GMT", None),
        ("Fri, 10 Apr 2026 12:00:00 +99999999999999999999", None),
        ("Fri, 10 Apr 2026 12:00:99999999999999999999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_and_garbage_is_nothing(value: str, seconds: int | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_header_breaks_a_sender(value: str) -> None:
    found = retry_after({"retry-after": value}, NOW)
    assert found is None or found >= 0


def test_without_the_header_there_is_none() -> None:
    assert retry_after({}, NOW) is None
