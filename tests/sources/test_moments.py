"""Times as providers, relays and own systems write them."""

from datetime import UTC, datetime

import pytest

from app.sources.parse import from_iso, from_unix, from_unix_or_iso
from tests.sources.test_custom import line_of

DAYS = (20261101, "20261101", "2026-11-01", "2026-11-01 00:00:00", "2026-11-01 00:00:00 +0100", 1793487600000000)
AT = datetime(2026, 11, 1, 10, 0, 0, 123456, UTC)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_unix_time_of_any_unit(unit: int) -> None:
    value = int(AT.timestamp()) * unit
    assert from_unix(value) == from_unix_or_iso(str(value)) == AT.replace(microsecond=0)


@pytest.mark.parametrize(
    "value", [0, -1, True, 10**30, 4102444800, 4102444800 * 10**9, float("inf"), float("nan"), "1"]
)
def test_what_is_no_unix_time(value: object) -> None:
    assert from_unix(value) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01 10:00:00.123456 UTC", AT),
        ("2026-11-01 11:00:00.123456 +0100", AT),
        ("2026-11-01T05:00:00.123456789-05:00", AT),
        ("2026-11-01 10:00:00", None),
        ("2026-11-01 UTC", None),
        ("20261101", None),
        (" +0100", None),
    ],
)
def test_iso_8601_with_a_zone(text: str, expected: datetime | None) -> None:
    assert from_iso(text) == from_unix_or_iso(text) == expected


def test_an_own_source_takes_a_date_for_a_date() -> None:
    """Not for seconds since 1970: destinations refuse what is so old."""
    table = """
[sources.shop.fields]
submission_id = "id"
occurred_at = "at"
occurred_at_zone = "Europe/Berlin"
"""
    days = [line_of(table, {"id": "1", "email": "p@kern.example", "at": at})["payload"]["timestamp"] for at in DAYS]
    assert days == ["2026-10-31T23:00:00.000Z"] * len(DAYS)
