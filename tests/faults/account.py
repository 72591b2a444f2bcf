"""The books of one round: what was acknowledged, what the ledger says of it, and what the destination saw."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.ledger.engine import Ledger
from app.ledger.forwarding.sweep import LOST
from tests.support.scripted import FINAL, TAKEN, Asked, invoice_of

HEAD = (
    "ledger",
    "what was broken",
    "times",
    "events",
    "posted",
    "refused",
    "owed",
    "delivered",
    "dead",
    "lost",
    "doubled",
    "s",
)


@dataclass
class Account:
    """`problems` is empty where every promise was kept."""

    owed: int
    delivered: int = 0
    dead: int = 0
    lost: int = 0
    doubled: int = 0
    """Conversions of which the destination took more than one request."""
    still_open: int = 0
    problems: list[str] = field(default_factory=list)


def books(
    ledger: Ledger,
    keys: set[str],
    acknowledged: set[str],
    asked: Iterable[Asked],
    *,
    worker_killed: bool,
    timeout_seconds: float,
    destination: str = "main",
) -> Account:
    """Compares the three.

    A request may be repeated whose answer had left, whole, only where the worker was killed before it could record that
    (`worker_killed`), or had waited for all of `timeout_seconds`: on a busy machine they may be over just before it is read.
    """
    rows = _rows(ledger, keys, destination, timeout_seconds)
    by_key: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        if one.key in keys:
            by_key[one.key].append(one)
    account = Account(owed=len(acknowledged))
    say = account.problems.append
    for key in sorted(keys - acknowledged):
        say(f"{key} was never acknowledged")
    for key in sorted(acknowledged):
        status, attempts, lost_claims, unknown, timed_out = rows.get(key, ("missing", 0, 0, 0, 0))
        requests = by_key[key]
        answered = sum(1 for r in requests if r.answered and r.what in TAKEN)
        taken = sum(1 for r in requests if r.taken)
        account.delivered += status == "delivered"
        account.dead += status == "dead"
        account.still_open += status in ("pending", "retrying")
        account.doubled += taken > 1
        if status == "missing" or (status == "delivered" and not answered):
            account.lost += 1
            say(f"{key} is lost: {status}, {[r.what for r in requests]}")
        if status == "dead" and answered and not requests[-1].answered:
            say(f"{key} is shown dead, and was taken: {[r.what for r in requests]}")
        too_late = max(0, timed_out - sum(1 for r in requests if r.what in ("hang", "drip")))
        if answered > 1 + too_late + (lost_claims if worker_killed else 0):
            say(f"{key} was sent again after a whole answer: {[r.what for r in requests]}, {lost_claims} claims lost")
        if taken > 1 + unknown:
            say(f"{key} was taken {taken} times, and only {unknown} attempts are recorded as unknown")
        if len({r.body for r in requests}) > 1:
            say(f"{key} was sent with different bytes")
        if len(requests) > attempts:
            say(f"{key} was sent {len(requests)} times and the ledger has {attempts} attempts")
    for key in sorted(set(rows) - acknowledged):
        say(f"{key} is in the ledger and was not acknowledged")
    _one_key_each(by_key, say)
    _leads_first(ledger, keys, by_key, destination, say)
    return account


def _rows(
    ledger: Ledger, keys: set[str], destination: str, timeout_seconds: float
) -> dict[str, tuple[str, int, int, int, int]]:
    """Of each key: status, attempts, and how many of those were lost with their worker, are unknown, and took all their time."""
    with ledger.read() as tx:
        condition, value = tx.among("d.dedupe_key", sorted(keys))
        found = tx.run(
            "SELECT d.dedupe_key, d.status, (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id),"
            " (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id AND a.error = ?),"
            " (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id AND a.result = 'unknown'),"
            " (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id AND a.result = 'unknown' AND a.duration_ms >= ?)"
            f" FROM deliveries d WHERE d.destination = ? AND {condition}",
            LOST,
            int(timeout_seconds * 1000),
            destination,
            value,
        ).all()
    assert len(found) == len({row[0] for row in found}), "a conversion has two deliveries"
    return {key: tuple(rest) for key, *rest in found}


def _one_key_each(by_key: dict[str, list[Asked]], say: object) -> None:
    """A purchase has one Idempotency-Key, whatever is repeated."""
    owners: dict[str, set[str]] = defaultdict(set)
    for key, requests in by_key.items():
        for one in requests:
            invoice = invoice_of(one.body)
            if invoice is not None:
                owners[invoice].add(key)
    for invoice, found in owners.items():
        if len(found) > 1:
            say(f"invoice {invoice} was sent under {found}")  # type: ignore[operator]


def _leads_first(ledger: Ledger, keys: set[str], by_key: dict[str, list[Asked]], destination: str, say: object) -> None:
    """No Sale was sent before an earlier Lead of its person was answered for good."""
    with ledger.read() as tx:
        condition, value = tx.among("s.dedupe_key", sorted(keys))
        pairs = tx.run(
            "SELECT l.dedupe_key, s.dedupe_key FROM deliveries s JOIN deliveries l ON l.person_id = s.person_id"
            f" WHERE s.kind = 'sale' AND l.kind = 'lead' AND l.id < s.id AND {condition}"
            " AND s.destination = l.destination AND s.destination = ?",
            value,
            destination,
        ).all()
    for lead, sale in pairs:
        ended = [r.at for r in by_key.get(lead, []) if r.answered and r.what in TAKEN | FINAL]
        began = [r.at for r in by_key.get(sale, [])]
        if began and (not ended or min(began) < min(ended)):
            say(f"{sale} overtook {lead}")  # type: ignore[operator]
