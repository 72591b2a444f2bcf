"""A week of a destination in shadow mode: what the bridge would have sent it, and what a plain forwarder would have sent (one
request per webhook). Read only, by index and bounded."""

from collections.abc import Collection
from typing import Any

from app import times
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx

DAYS = 7
DAY_MS = 86_400_000
MOST = 10_000
"""Of the newest deliveries, which are looked at."""
MOST_REASONS = 5
NO_CLICK = '%"click_id":null%'
"""In the facts of a conversion."""


def week(tx: Tx, destination: str, kinds: Collection[str], sources: Collection[str] | None) -> dict[str, Any]:
    """The last DAYS, as the API answers it. kinds and sources: what the destination takes; sources None for all.

    held: conversions that would have waited for an event that names their person. deduplicated: webhooks beyond the first of a
    conversion. refused, with the most frequent reasons: what would not have been sent or taken. plain: a plain forwarder's
    requests, and further ones for money that was not collected at that time; without_click: conversions whose own webhooks lack
    the click ID that the bridge knew. is_capped: there are more than were read.
    """
    now = tx.now()
    since = now - DAYS * DAY_MS
    first = tx.run("SELECT id FROM events WHERE received_at >= ? ORDER BY received_at LIMIT 1", since).scalar()
    first = LARGEST_ID if first is None else first
    newest = (
        "SELECT id, conversion_id, person_id, kind, note, last_error FROM deliveries WHERE status = 'shadow'"
        " AND kind <> 'refund' AND id >= ?"
        f" AND kind <> 'refund' AND destination = ? AND created_at >= ? ORDER BY id DESC LIMIT {MOST}"
    )
    values = (first, destination, since)
    counted = tx.run(
        "SELECT d.kind, COUNT(*), COUNT(d.note), COUNT(d.last_error), COALESCE(SUM(CASE WHEN p.click_first IS NOT NULL"
        " AND c.facts LIKE ? THEN 1 ELSE 0 END), 0)"
        f" FROM ({newest}) d JOIN conversions c ON c.id = d.conversion_id JOIN persons p ON p.id = d.person_id GROUP BY d.kind",
        *(NO_CLICK, *values),
    ).all()
    number = {kind: int(count) for kind, count, *_ in counted}
    held, refused, without_click = (sum(int(row[column]) for row in counted) for column in (2, 3, 4))
    requests = tx.run(
        "SELECT COALESCE(SUM(e.received_count), 0) FROM events e WHERE e.outcome IN ('sale', 'lead', 'duplicate')"
        f" AND e.conversion_id IN (SELECT conversion_id FROM ({newest}) d)",
        *values,
    ).scalar_one()
    total = sum(number.values())
    twice = max(0, int(requests) - total)
    reasons = tx.run(
        f"SELECT last_error, COUNT(*) FROM ({newest}) d WHERE last_error IS NOT NULL GROUP BY last_error"
        f" ORDER BY COUNT(*) DESC, last_error LIMIT {MOST_REASONS}",
        *values,
    ).all()
    return {
        "since": times.iso(since),
        "sales": number.get("sale", 0),
        "leads": number.get("lead", 0),
        "held": held,
        "deduplicated": twice,
        "refused": refused,
        "reasons": [{"reason": reason, "count": int(count)} for reason, count in reasons],
        "plain": {
            "requests": int(requests),
            "twice": twice,
            "unpaid": _unpaid(tx, first, sources) if "sale" in kinds else 0,
            "without_click": without_click,
            "unidentified": held,
        },
        "is_capped": total == MOST,
    }


def _unpaid(tx: Tx, first: int, sources: Collection[str] | None) -> int:
    statement = (
        "SELECT source, SUM(received_count) FROM (SELECT source, received_count FROM events WHERE outcome = 'pending'"
        f" AND id >= ? ORDER BY id DESC LIMIT {MOST}) e GROUP BY source"
    )
    return sum(int(count) for source, count in tx.run(statement, first).all() if sources is None or source in sources)
