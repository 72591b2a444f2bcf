"""Times as people type them."""

import pytest

from app.times import read_since

NOON = 1_775_822_400.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOON - 5400),
        (" 7d ", NOON - 7 * 86400),
        ("2026-04-10", 1_775_779_200.0),
        ("2026-04-10T12:00:00Z", NOON),
        ("2026-04-10T14:00:00+02:00", NOON),
        ("0001-01-01", 0.0),
        ("0001-01-01T00:00:00+14:00", 0.0),
    ],
)
def test_a_time_is_read_as_milliseconds_and_nothing_lies_before_1970(text: str, expected: float) -> None:
    assert read_since(text, NOON) == int(expected * 1000)


@pytest.mark.parametrize("text", ["", "yesterday", "٣d", "7", "999999h", "9999-12-31T23:59:60Z", None, 7])
def test_what_is_no_time_says_what_is_taken(text: object) -> None:
    with pytest.raises(ValueError, match="must be a date"):
        read_since(text, NOON)
