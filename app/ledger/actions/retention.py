"""Retention: removes rows older than [retention] of bridge.toml allows, in small batches, so that nothing waits long for the
lock. There is a rule for each table that grows without bound.

Kept at any age: dedupe keys and conversions (they identify repeats), persons with their identifiers (renewals need them),
open and dead deliveries (shown until somebody replays or discards them), parked events (they can be reprocessed), and
attempts with an unknown result of deliveries that are not delivered (they forbid sending another body).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from app.config.bridge_toml import RetentionTable
from app.ledger.engine import Ledger, look
from app.ledger.tables import TABLES_OF_EVENTS
from app.ledger.transaction import Tx

WINDOW = 2000
"""Ids that are looked at in one read."""
BATCH = 200
"""Rows that are changed in one transaction."""
REST_SECONDS = 0.002
LONGEST_REST_SECONDS = 2.0
DAY_MS = 86_400_000
PRUNED_BODY = b'{"pruned":true}'


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: removes or blanks rows of `table` with `at` older than the cutoff, if `where` is true (CUTOFF is the cutoff)."""

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
    # Rules that remove rows come before rules that blank them, so that no row is rewritten and then removed.
    Rule(
        "deliveries_days",
        "deliveries removed",
        "deliveries",
        "created_at",
        "t.due_at IS NULL AND t.claim IS NULL AND t.status IN ('delivered', 'discarded', 'unattributed', 'shadow')"
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
    Rule("attempts_days", "attempts removed", "attempts", "started_at", _FINISHED, "DELETE FROM attempts"),
    Rule("conflicts_days", "conflicts removed", "conflicts", "at", "TRUE", "DELETE FROM conflicts"),
    Rule("audit_days", "lines of the audit log removed", "audit", "at", "t.action <> 'forget'", "DELETE FROM audit"),
    Rule(
        "alerts_days",
        "past incidents removed",
        "incidents",
        "began_at",
        "t.over_at IS NOT NULL",
        "DELETE FROM incidents",
    ),
    Rule("alerts_days", "notifications removed", "notifications", "created_at", "TRUE", "DELETE FROM notifications"),
    Rule(
        "sandbox_days",
        "sandbox requests removed",
        "sandbox_requests",
        "received_at",
        "TRUE",
        "DELETE FROM sandbox_requests",
    ),
    Rule(
        "workers_days",
        "stopped workers removed",
        "workers",
        "started_at",
        "t.stopped_at IS NOT NULL AND t.heartbeat_at < CUTOFF",
        "DELETE FROM workers",
    ),
    Rule(
        "quarantine_days",
        "requests removed from the quarantine",
        "quarantine",
        "received_at",
        "TRUE",
        "DELETE FROM quarantine",
    ),
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
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a rule changed (or would change)."""

    what: str
    days: float
    count: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of the time pruning may hold the ledger's lock, so that intake and workers get it; and whether to stop."""

    share: float = 0.5
    is_stopping: Callable[[], bool] = lambda: False

    def rest(self, seconds: float) -> None:
        """After a change that took `seconds`."""
        time.sleep(min(max(REST_SECONDS, seconds * (1 / self.share - 1)), LONGEST_REST_SECONDS))


def prune(
    ledger: Ledger,
    retention: RetentionTable,
    *,
    now: int | None = None,
    dry_run: bool = False,
    pace: Pace = Pace(),
) -> Iterator[Pruned]:
    """Applies each rule that is set, one after another. now: ms, by default the database's. Idempotent, and may be interrupted."""
    if now is None:
        with ledger.read() as tx:
            now = tx.now()
    for rule in RULES:
        days: float | None = getattr(retention, rule.name)
        if days is not None:
            yield Pruned(rule.what, days, _apply(ledger, rule, now - int(days * DAY_MS), pace, dry_run=dry_run))
    if retention.marks_days is not None:
        cutoff = now - int(retention.marks_days * DAY_MS)
        yield Pruned("refunds and disputes removed", retention.marks_days, _marks(ledger, cutoff, pace, dry_run))
    if retention.refusals_days is not None:
        cutoff = now - int(retention.refusals_days * DAY_MS)
        yield Pruned("hours of refused requests removed", retention.refusals_days, _refusals(ledger, cutoff, dry_run))


def _apply(ledger: Ledger, rule: Rule, cutoff: int, pace: Pace, *, dry_run: bool) -> int:
    count, after = 0, 0
    rule = replace(rule, where=rule.where.replace("CUTOFF", str(int(cutoff))))
    while not pace.is_stopping():
        ids, last = _window(ledger, rule, after, cutoff)
        if last is None:
            break
        if dry_run:
            count += len(ids)
        for start in range(0, 0 if dry_run else len(ids), BATCH):
            if pace.is_stopping():
                return count
            batch, began = ids[start : start + BATCH], time.monotonic()
            count += ledger.transact(partial(_change, rule=rule, ids=batch))
            pace.rest(time.monotonic() - began)
        after = last
    return count


def _window(ledger: Ledger, rule: Rule, after: int, cutoff: int) -> tuple[Sequence[int], int | None]:
    """IDs to change among the next WINDOW, and the last ID that was read; None if all the rest is younger."""
    rows = f"SELECT id, {rule.at} AS at FROM {rule.table} WHERE id > ? ORDER BY id LIMIT {WINDOW}"
    with look(ledger) as tx:
        last, oldest = tx.run(f"SELECT MAX(id), MIN(at) FROM ({rows}) n", after).one()
        if last is None or oldest >= cutoff:
            return [], None
        statement = f"SELECT t.id FROM {rule.table} t WHERE t.id > ? AND t.id <= ? AND t.{rule.at} < ? AND {rule.where}"
        return list(tx.run(f"{statement} ORDER BY t.id", after, last, cutoff).scalars()), last


def _change(tx: Tx, rule: Rule, ids: Sequence[int]) -> int:
    """Checks the condition again and skips rows that changed in the meantime, such as by a replay."""
    condition, value = tx.among("t.id", ids)
    statement = rule.change.replace(rule.table, f"{rule.table} AS t", 1)
    if rule.table == "deliveries":
        return _remove_deliveries(tx, f"{statement} WHERE {condition} AND {rule.where}", value)
    if rule.table == "events":  # what was read from a body goes with it
        rows = tx.run(f"{statement} WHERE {condition} AND {rule.where} RETURNING id", *rule.values, value).all()
        for table in TABLES_OF_EVENTS:
            tx.run_many(f"DELETE FROM {table} WHERE event_id = ?", [tuple(row) for row in rows])
        return len(rows)
    return int(tx.run(f"{statement} WHERE {condition} AND {rule.where}", *rule.values, value).rowcount)


def _remove_deliveries(tx: Tx, statement: str, ids: object) -> int:
    """Removes deliveries with their attempts. Their persons and conversions stay, and keep that something was sent."""
    rows = tx.run(f"{statement} RETURNING id, person_id, conversion_id, attempts", ids).all()
    tx.run_many("DELETE FROM attempts WHERE delivery_id = ?", [(row[0],) for row in rows])
    sent = sorted({row[1] for row in rows if row[3]})
    tx.run_many("UPDATE persons SET sent = 1 WHERE id = ? AND sent = 0", [(person_id,) for person_id in sent])
    conversions = sorted({row[2] for row in rows})
    tx.run_many(
        "UPDATE conversions SET hold = 'none' WHERE id = ?", [(conversion_id,) for conversion_id in conversions]
    )
    return len(rows)


_OLD_MARKS = (
    "SELECT reference, key FROM marks t WHERE at < ? AND (reference, key) > (?, ?)"
    " AND NOT EXISTS (SELECT 1 FROM dedupe_keys k JOIN deliveries d ON d.conversion_id = k.conversion_id WHERE k.key = t.key)"
    f" ORDER BY reference, key LIMIT {BATCH}"
)

_REMOVE_MARK = "DELETE FROM marks WHERE reference = ? AND key = ?"


def _marks(ledger: Ledger, cutoff: int, pace: Pace, dry_run: bool) -> int:
    count, after = 0, ("", "")
    while not pace.is_stopping():
        with look(ledger) as tx:
            rows = [(row[0], row[1]) for row in tx.run(_OLD_MARKS, cutoff, *after).all()]
        if not rows:
            break
        began = time.monotonic()
        if not dry_run:
            ledger.transact(partial(Tx.run_many, statement=_REMOVE_MARK, rows=rows))
            pace.rest(time.monotonic() - began)
        count, after = count + len(rows), rows[-1]
    return count


def _refusals(ledger: Ledger, cutoff: int, dry_run: bool) -> int:
    if dry_run:
        with ledger.read() as tx:
            return int(tx.run("SELECT COUNT(*) FROM refusals WHERE hour < ?", cutoff).scalar_one())

    def work(tx: Tx) -> int:
        tx.run("DELETE FROM last_refusals WHERE at < ?", cutoff)
        return int(tx.run("DELETE FROM refusals WHERE hour < ?", cutoff).rowcount)

    return ledger.transact(work)
