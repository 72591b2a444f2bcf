"""How many requests were refused, by source, reason and hour: what the web processes counted, kept for pages and alerts.

Only requests to configured sources are counted, and there are few reasons, so whoever posts rubbish makes no row of their own.
"""

from collections.abc import Iterable, Mapping

from app.ledger.transaction import Tx

HOUR_MS = 3_600_000


def add_refusals(tx: Tx, counted: Mapping[tuple[str, str], int], now: int) -> None:
    """Adds {(source, reason): how many} to the hour that `now` (ms) lies in. Not idempotent."""
    hour = now // HOUR_MS * HOUR_MS
    rows = [(source, reason, hour, count) for (source, reason), count in sorted(counted.items()) if count]
    tx.run_many(
        "INSERT INTO refusals (source, reason, hour, count) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (source, reason, hour) DO UPDATE SET count = refusals.count + excluded.count",
        rows,
    )


def refusals(tx: Tx, names: Iterable[str] | None, since: int) -> dict[str, dict[str, int]]:
    """For each source of `names` (None: each that has any): how many were refused since the hour of `since` (ms), by reason."""
    found: dict[str, dict[str, int]] = {name: {} for name in names or ()}
    rows = tx.run(
        "SELECT source, reason, SUM(count) FROM refusals WHERE hour >= ? GROUP BY source, reason ORDER BY source, reason",
        since // HOUR_MS * HOUR_MS,
    ).all()
    for source, reason, count in rows:
        if names is None or source in found:
            found.setdefault(source, {})[reason] = int(count)
    return found
