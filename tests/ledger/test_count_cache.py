"""Counts of a large ledger are kept for some seconds, those of a small one are not."""

from functools import partial

from app.ledger.reading.summary.stats import KEPT_SECONDS, CountCache


def test_a_small_count_is_asked_each_time_and_a_large_one_once_in_a_while() -> None:
    now = [0.0]
    asked: list[int] = []

    def count(of: int) -> dict[str, int]:
        asked.append(of)
        return {"delivered": of, "dead": 1}

    counts = CountCache(large=100, clock=lambda: now[0])
    assert [counts.get("small", lambda: count(5)) for _ in range(2)] == [{"delivered": 5, "dead": 1}] * 2
    assert [counts.get("large", partial(count, of)) for of in (100, 200)] == [{"delivered": 100, "dead": 1}] * 2
    now[0] = KEPT_SECONDS + 1
    assert counts.get("large", lambda: count(300)) == {"delivered": 300, "dead": 1}
    assert asked == [5, 5, 100, 300]


def test_who_gets_a_count_may_change_it() -> None:
    counts = CountCache(large=1)
    counts.get("x", lambda: {"dead": 1})["dead"] = 7
    assert counts.get("x", lambda: {"dead": 9}) == {"dead": 1}
