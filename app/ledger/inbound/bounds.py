"""Keeps the quarantine within its bounds, whatever strangers post.

A flood must not push out genuine requests. If there are too many, requests of the client network that holds the most are
removed, from the middle, so that those before and after a flood stay.
"""

from dataclasses import dataclass

from app.ledger.transaction import Tx

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """rows: of each source; 0 turns the quarantine off. total_bytes: of all bodies and headers. days: None for ever."""

    rows: int
    total_bytes: int
    days: float | None

    @property
    def is_on(self) -> bool:
        return self.rows > 0 and self.total_bytes > 0


@dataclass(slots=True)
class _Share:
    """The requests of one source from one client network."""

    source: str
    client: str
    rows: int
    bytes: int


def enforce(tx: Tx, bounds: Bounds, now: int) -> int:
    """Removes requests that are too old or too many, and returns how many."""
    removed = 0
    if bounds.days is not None:
        removed += tx.run("DELETE FROM quarantine WHERE received_at < ?", now - int(bounds.days * DAY_MS)).rowcount
    grouped = "SELECT source, client, COUNT(*), SUM(size) FROM quarantine GROUP BY source, client"
    shares = [_Share(source, client, int(rows), int(size)) for source, client, rows, size in tx.run(grouped).all()]
    for source in {share.source for share in shares}:
        own = [share for share in shares if share.source == source]
        while (extra := sum(share.rows for share in own) - bounds.rows) > 0:
            largest = max(own, key=lambda share: share.rows)
            others = sorted((share.rows for share in own if share is not largest), reverse=True)
            level = max(others[0] if others else 0, 1)
            count = min(extra, max(largest.rows - level, 1))
            removed += _thin(tx, largest, rows=count)
    while shares and (extra := sum(share.bytes for share in shares) - bounds.total_bytes) > 0:
        totals: dict[str, int] = {}
        for share in shares:
            totals[share.source] = totals.get(share.source, 0) + share.bytes
        most = max(totals, key=lambda name: totals[name])
        largest = max((share for share in shares if share.source == most), key=lambda share: share.bytes)
        removed += _thin(tx, largest, size=extra)
        shares = [share for share in shares if share.rows]
    return removed


def _thin(tx: Tx, share: _Share, *, rows: int | None = None, size: int | None = None) -> int:
    """Removes that many rows, or bytes, from the middle of a client's requests, but at least one row."""
    statement = "SELECT id, size FROM quarantine WHERE source = ? AND client = ? ORDER BY id"
    held = [(int(identity), int(of)) for identity, of in tx.run(statement, share.source, share.client).all()]
    going: list[int] = []
    freed = 0
    while held and (len(going) < rows if rows is not None else freed < (size or 0)):
        identity, of = held.pop(len(held) // 2)
        going.append(identity)
        freed += of
    condition, value = tx.among("id", going)
    tx.run(f"DELETE FROM quarantine WHERE {condition}", value)
    share.rows, share.bytes = len(held), share.bytes - freed
    return len(going)
