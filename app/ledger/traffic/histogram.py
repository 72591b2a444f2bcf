"""Delivery times as counts by size. Each part is a quarter wider than the one before, so percentiles are off by an eighth at
most."""

from collections.abc import Mapping

STEPS = (10, 12.5, 16, 20, 25, 32, 40, 50, 63, 80)
BOUNDS = tuple(sorted({max(1, round(step * 10**power / 10)) for power in range(9) for step in STEPS}))
"""Milliseconds: part n holds times from BOUNDS[n - 1] to below BOUNDS[n]; the last one has no end."""


def part_in_sql(column: str, low: int = 0, high: int = len(BOUNDS)) -> str:
    """The part that the milliseconds in `column` are in, as an SQL expression. It halves the bounds, so that few are compared."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    below, above = part_in_sql(column, low, middle), part_in_sql(column, middle + 1, high)
    return f"CASE WHEN {column} < {BOUNDS[middle]} THEN {below} ELSE {above} END"


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Seconds within which `share` of all times lie; None if there are none. Times are taken as spread evenly within a part."""
    left: float = share * sum(counts.values())
    for part in sorted(counts):
        if left <= counts[part]:
            low = BOUNDS[part - 1] if part else 0
            high = BOUNDS[min(part, len(BOUNDS) - 1)]
            return float(low + (high - low) * left / counts[part]) / 1000
        left -= counts[part]
    return None
