"""Retention: what is older than [retention] of bridge.toml allows goes, in small batches, so that nobody waits long for the lock.

What stays whatever its age: dedupe keys and conversions (by which a repeat is known), persons with their identifiers (which
renewals need), open and dead deliveries (they are shown until somebody replays or discards them), parked events (they can be
reprocessed), and attempts that ended unknown of what is not delivered (they forbid sending another body).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.config.bridge_toml import RetentionTable
from app.ledger.engine import Ledger, look
from app.ledger.transaction import Tx

WINDOW = 2000
"""Ids that are looked at in one read."""
BATCH = 200
"""Rows that are changed in one transaction."""
REST_SECONDS = 0.002
DAY_MS = 86_400_000
PRUNED_BODY = b'{"pruned":true}'


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing that goes: rows of `table` whose `at` is older than the cutoff, and of which `where` is true (CUTOFF is the
    cutoff)."""

    name: str
    what: str
    table: str
    at: str
    where: str
    change: str
    """A statement up to its WHERE."""
    values: tuple[object, ...] = ()
    """Of its placeholders."""


_NOTHING_OPEN = (
    "NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.conversion_id = t.conversion_id AND d.due_at IS NOT NULL)"
)
# Lists of deliveries join the event that each came from, which may belong to another conversion of the same person.
_NO_DELIVERY = (
    "NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.conversion_id = t.conversion_id)"
    " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.person_id = t.person_id AND d.event_id = t.id)"
    " AND NOT EXISTS (SELECT 1 FROM conversions c WHERE c.id = t.conversion_id AND c.state = 'pending')"
)
_CLOSED = "EXISTS (SELECT 1 FROM deliveries d WHERE d.id = t.delivery_id AND d.due_at IS NULL)"
_FINISHED = (
    "NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = t.delivery_id"
    " AND (d.due_at IS NOT NULL OR (d.status <> 'delivered' AND t.result = 'unknown')))"
)
RULES = (
    Rule(
        "bodies_days",
        "bodies of events blanked",
        "events",
        "received_at",
        f"t.outcome <> 'parked' AND (t.headers <> '{{}}' OR length(t.body) > 20) AND {_NOTHING_OPEN}",
        "UPDATE events SET headers = '{}', body = ?",
        (PRUNED_BODY,),
    ),
    Rule(
        "answers_days",
        "answers of the destination blanked",
        "attempts",
        "started_at",
        f"(t.answer_body IS NOT NULL OR t.answer_headers IS NOT NULL) AND {_CLOSED}",
        "UPDATE attempts SET answer_body = NULL, answer_headers = NULL",
    ),
    Rule("attempts_days", "attempts removed", "attempts", "started_at", _FINISHED, "DELETE FROM attempts"),
    Rule(
        "deliveries_days",
        "deliveries removed",
        "deliveries",
        "created_at",
        "t.due_at IS NULL AND t.claim IS NULL AND t.status IN ('delivered', 'discarded', 'unattributed')"
        " AND COALESCE(t.delivered_at, t.created_at) < CUTOFF",
        "DELETE FROM deliveries",
    ),
    Rule(
        "events_days",
        "events removed",
        "events",
        "received_at",
        f"t.outcome <> 'parked' AND {_NO_DELIVERY}",
        "DELETE FROM events",
    ),
    Rule("audit_days", "lines of the audit log removed", "audit", "at", "t.action <> 'forget'", "DELETE FROM audit"),
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a rule changed (or would change)."""

    what: str
    days: float
    count: int


def prune(
    ledger: Ledger, retention: RetentionTable, *, now: int | None = None, dry_run: bool = False
) -> Iterator[Pruned]:
    """Applies each rule that is set, one after another. now: ms, by default the database's. Idempotent, and may be interrupted."""
    if now is None:
        with ledger.read() as tx:
            now = tx.now()
    for rule in RULES:
        days: float | None = getattr(retention, rule.name)
        if days is not None:
            yield Pruned(rule.what, days, _apply(ledger, rule, now - int(days * DAY_MS), dry_run=dry_run))
    if retention.refusals_days is not None:
        cutoff = now - int(retention.refusals_days * DAY_MS)
        yield Pruned("hours of refused requests removed", retention.refusals_days, _refusals(ledger, cutoff, dry_run))


def _apply(ledger: Ledger, rule: Rule, cutoff: int, *, dry_run: bool) -> int:
    count, after = 0, 0
    rule = replace(rule, where=rule.where.replace("CUTOFF", str(int(cutoff))))
    while True:
        ids, last = _window(ledger, rule, after, cutoff)
        if last is None:
            return count
        if dry_run:
            count += len(ids)
        for start in range(0, 0 if dry_run else len(ids), BATCH):
            batch = ids[start : start + BATCH]
            count += ledger.transact(lambda tx, batch=batch: _change(tx, rule, batch))  # type: ignore[misc]
            time.sleep(REST_SECONDS)  # intake and workers ask for the same lock
        after = last


def _window(ledger: Ledger, rule: Rule, after: int, cutoff: int) -> tuple[Sequence[int], int | None]:
    """Ids among the next WINDOW that go, and the last one looked at; None where all the rest is younger."""
    rows = f"SELECT id, {rule.at} AS at FROM {rule.table} WHERE id > ? ORDER BY id LIMIT {WINDOW}"
    with look(ledger) as tx:
        last, oldest = tx.run(f"SELECT MAX(id), MIN(at) FROM ({rows}) n", after).one()
        if last is None or oldest >= cutoff:
            return [], None
        statement = f"SELECT t.id FROM {rule.table} t WHERE t.id > ? AND t.id <= ? AND t.{rule.at} < ? AND {rule.where}"
        return list(tx.run(f"{statement} ORDER BY t.id", after, last, cutoff).scalars()), last


def _change(tx: Tx, rule: Rule, ids: Sequence[int]) -> int:
    """What went meanwhile another way (a replay) is skipped: the condition is asked again."""
    condition, value = tx.among("t.id", ids)
    statement = rule.change.replace(rule.table, f"{rule.table} AS t", 1)
    if rule.table == "deliveries":
        return _remove_deliveries(tx, f"{statement} WHERE {condition} AND {rule.where}", value)
    if rule.table == "events":  # what was read from a body goes with it
        rows = tx.run(f"{statement} WHERE {condition} AND {rule.where} RETURNING id", *rule.values, value).all()
        tx.run_many("DELETE FROM event_facts WHERE event_id = ?", [tuple(row) for row in rows])
        return len(rows)
    return int(tx.run(f"{statement} WHERE {condition} AND {rule.where}", *rule.values, value).rowcount)


def _remove_deliveries(tx: Tx, statement: str, ids: object) -> int:
    """Their attempts go too. That something was sent for their person, and of their conversion, is remembered: both stand."""
    rows = tx.run(f"{statement} RETURNING id, person_id, conversion_id, attempts", ids).all()
    tx.run_many("DELETE FROM attempts WHERE delivery_id = ?", [(row[0],) for row in rows])
    sent = sorted({row[1] for row in rows if row[3]})
    tx.run_many("UPDATE persons SET sent = 1 WHERE id = ? AND sent = 0", [(one,) for one in sent])
    conversions = sorted({row[2] for row in rows})
    tx.run_many("UPDATE conversions SET hold = 'none' WHERE id = ?", [(one,) for one in conversions])
    return len(rows)


def _refusals(ledger: Ledger, cutoff: int, dry_run: bool) -> int:
    if dry_run:
        with ledger.read() as tx:
            return int(tx.run("SELECT COUNT(*) FROM refusals WHERE hour < ?", cutoff).scalar_one())
    return ledger.transact(lambda tx: int(tx.run("DELETE FROM refusals WHERE hour < ?", cutoff).rowcount))
