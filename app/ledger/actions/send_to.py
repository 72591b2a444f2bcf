"""Sends conversions to a destination that did not get them: one added later, or not configured when they arrived."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

from app.ledger import tables
from app.ledger.actions.replay import REFUNDED, ActionResult, replay
from app.ledger.audit import begin_group, close_batch, is_group, note
from app.ledger.engine import Ledger
from app.ledger.forwarding.refunds import refunded
from app.ledger.inserts import Rows
from app.ledger.reading.where import Where, id_after, id_before
from app.ledger.recording.arrival import Conversion, Route
from app.ledger.recording.flush import delivery_row
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.refunds.sent import LOWERED
from app.ledger.recording.refunds.settle import settle_refunds
from app.ledger.transaction import Tx
from app.times import iso

BATCH = 200
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Conversions recorded since `since` and before `until` (ms), optionally of one kind and source."""

    since: int
    until: int | None = None
    kind: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send. known_since: before then (ms) retention may have removed deliveries, so a missing one may have been sent."""

    route: Route
    known_since: int = 0
    force: bool = False


def known_since(deliveries_days: float | None, now: int) -> int:
    """Target.known_since if retention keeps deliveries for `days` days (None: without limit)."""
    return 0 if deliveries_days is None else now - int(deliveries_days * DAY_MS)


@dataclass(frozen=True, slots=True)
class Sending:
    """Work in batches. after: the last conversion of the batch before, None before the first. group: its line in the audit log."""

    after: int | None = None
    group: int | None = None
    results: Sequence[ActionResult] = ()
    """Of the last batch."""
    is_over: bool = False


def send_selected(ledger: Ledger, selection: Selection, target: Target, *, actor: str) -> list[ActionResult]:
    """Sends all that match, one batch per transaction. What was done stays done if it is interrupted. Idempotent."""
    done: list[ActionResult] = []
    sending = Sending()
    while not sending.is_over:
        sending = ledger.transact(partial(send_batch, selection=selection, target=target, sending=sending, actor=actor))
        done += sending.results
    return done


def send_batch(tx: Tx, selection: Selection, target: Target, sending: Sending, *, actor: str) -> Sending:
    """Sends the next batch."""
    after = id_before(tx, selection.since) if sending.after is None else sending.after
    ids = _matching(tx, selection, after)
    if not ids:
        return replace(sending, after=None, results=(), is_over=True)
    group = sending.group
    if group is None or not is_group(tx, group, actor, "replay"):
        group = begin_group(tx, actor, "replay", f"to {target.route.name}, recorded since {iso(selection.since)}")
    results = send_conversions(tx, ids, target, actor=actor, group=group)
    close_batch(tx, group, sum(result.done for result in results))
    return Sending(ids[-1], group, results, is_over=len(ids) < BATCH)


def count_selected(tx: Tx, selection: Selection, most: int) -> tuple[int, dict[str, int]]:
    """How many match, at most `most`, and of each kind."""
    where = _where(tx, selection, id_before(tx, selection.since))
    rows = f"SELECT kind FROM conversions WHERE {where} ORDER BY id LIMIT ?"
    kinds = tx.run(f"SELECT kind, COUNT(*) FROM ({rows}) c GROUP BY kind ORDER BY 2 DESC", *where.values, most).all()
    by_kind = {str(kind): int(count) for kind, count in kinds}
    return sum(by_kind.values()), by_kind


def send_ids(tx: Tx, delivery_ids: Sequence[int], target: Target, *, actor: str) -> list[ActionResult]:
    """Sends the conversions of these deliveries, whatever their status elsewhere. Idempotent."""
    known = [delivery_id for delivery_id in delivery_ids if delivery_id <= tables.LARGEST_ID]
    condition, value = tx.among("id", known)
    rows = tx.run(f"SELECT id, conversion_id FROM deliveries WHERE {condition}", value).all()
    conversions = {int(identity): int(conversion) for identity, conversion in rows}
    missing = [
        ActionResult(delivery_id, False, f"there is no delivery {delivery_id}")
        for delivery_id in delivery_ids
        if delivery_id not in conversions
    ]
    ids = sorted(set(conversions.values()))
    return missing + send_conversions(tx, ids, target, actor=actor, asked_for=True)


def _matching(tx: Tx, selection: Selection, after: int) -> list[int]:
    """The next BATCH of matching conversions, in the order they were recorded."""
    where = _where(tx, selection, after)
    statement = f"SELECT id FROM conversions WHERE {where} ORDER BY id LIMIT {BATCH}"
    return list(tx.run(statement, *where.values).scalars())


def _where(tx: Tx, selection: Selection, after: int) -> Where:
    where = Where("state = 'counted' AND id > ? AND created_at >= ?", after, selection.since)
    if selection.until is not None:
        where.add("created_at < ? AND id < ?", selection.until, id_after(tx, selection.until))
    where.when(selection.kind, "kind = ?")
    return where.when(selection.source, "source = ?")


def send_conversions(
    tx: Tx,
    conversion_ids: Sequence[int],
    target: Target,
    *,
    actor: str,
    asked_for: bool = False,
    group: int | None = None,
) -> list[ActionResult]:
    if not conversion_ids:
        return []
    if target.route.is_shadow:
        return [ActionResult(0, False, f"{target.route.name} is in shadow mode, so nothing is sent to it: skipped")]
    snapshot = Snapshot(tx, [target.route])
    snapshot.now = tx.now()
    condition, value = tx.among("id", conversion_ids)
    tx.run(  # locks the persons: what is learned about them must find these deliveries, to update them
        f"SELECT id FROM persons WHERE id IN (SELECT person_id FROM conversions WHERE {condition}) ORDER BY id{tx.for_update}",
        value,
    ).all()
    snapshot.load_conversions(conversion_ids)
    condition, value = tx.among("conversion_id", conversion_ids)
    rows = tx.run(
        f"SELECT conversion_id, destination, id, status FROM deliveries WHERE {condition} ORDER BY id{tx.for_update}",
        value,
    ).all()
    sales = _sales_of(tx, conversion_ids)
    reached = set(tx.run(*_reached(tx, target, sales.values())).scalars()) if sales else set()
    results: list[ActionResult] = []
    new_rows, made = [], set()
    for identity in conversion_ids:
        conversion = snapshot.conversions[identity]
        others = [(delivery, status) for owner, _, delivery, status in rows if owner == identity]
        existing = [(d, status) for owner, name, d, status in rows if owner == identity and name == target.route.name]
        if conversion.kind == "refund" and sales.get(identity) not in reached:
            delivery = others[0][0] if others else 0
            results.append(ActionResult(delivery, False, f"{target.route.name} does not get its Sale: skipped"))
        elif existing:
            delivery, status = existing[0]
            if status == "shadow":
                results.append(_send_shadow(snapshot, delivery, conversion, target, actor=actor, group=group))
                reached.add(identity)
                made.add(identity)
                continue
            results.append(_again(tx, delivery, status, target, actor=actor, asked_for=asked_for, group=group))
        elif problem := _why_not(conversion, others, target, asked_for=asked_for):
            results.append(ActionResult(others[0][0] if others else 0, False, problem))
        else:
            row = delivery_row(snapshot, replace(conversion, deliver_at=snapshot.now), target.route)
            new_rows.append(row)
            reached.add(identity)
            made.add(identity)
            results.append(ActionResult(row["id"], True, f"it was made for {target.route.name} and is due now"))
    tx.insert_all([Rows(tables.deliveries, new_rows)])
    results = _settled(snapshot, results, made, target)
    ready = {result.delivery_id for result in results if result.done}
    for row in new_rows:
        if row["id"] in ready:
            note(tx, actor, "replay", f"delivery {row['id']}", f"made for {target.route.name}", part_of=group)
    return results


def _settled(
    snapshot: Snapshot, results: list[ActionResult], made: AbstractSet[int], target: Target
) -> list[ActionResult]:
    """`results` once the money that went back of Sales that were just `made` is settled as if they had been unsent then: one that
    was refunded in full is not sent, and one that is lowered goes without its refunds."""
    tx, name = snapshot.tx, target.route.name
    back = refunded(tx, sorted(made))
    sales = [snapshot.conversions[identity] for identity, minor in back.items() if minor > 0]
    if target.force:  # who insists gets one that was refunded in full
        sales = [sale for sale in sales if back[sale.id] < sale.facts["sale"]["minor"]]
    if not sales:
        return results
    if target.route.lower_sales:
        condition, value = tx.among("sale_id", [sale.id for sale in sales])
        tx.run(
            "UPDATE deliveries SET status = 'discarded', due_at = NULL, last_error = ? WHERE destination = ? AND status = 'pending'"
            f" AND conversion_id IN (SELECT conversion_id FROM refunds WHERE is_dropped = 0 AND {condition})",
            *(LOWERED, name, value),
        )
    snapshot.adjusted += sales
    settle_refunds(snapshot)
    condition, value = tx.among("id", [result.delivery_id for result in results if result.done])
    statement = f"SELECT id, last_error FROM deliveries WHERE status = 'discarded' AND {condition}"
    closed = {int(delivery): str(error) for delivery, error in tx.run(statement, value).all()}
    return [_closed(result, closed.get(result.delivery_id)) for result in results]


def _closed(result: ActionResult, error: str | None) -> ActionResult:
    if error is None or not result.done:
        return result
    hint = f"; bridge replay --id {result.delivery_id} --force sends it all the same" if error == REFUNDED else ""
    return ActionResult(result.delivery_id, False, f"{error}: skipped{hint}")


def _sales_of(tx: Tx, conversion_ids: Sequence[int]) -> dict[int, int]:
    """The Sale of each of these conversions that is a refund in force."""
    condition, value = tx.among("conversion_id", conversion_ids)
    statement = f"SELECT conversion_id, sale_id FROM refunds WHERE is_dropped = 0 AND {condition}"
    return {int(refund): int(sale) for refund, sale in tx.run(statement, value).all()}


def _reached(tx: Tx, target: Target, sale_ids: Iterable[int]) -> tuple[str, str, str]:
    """A statement, with its values, that finds the Sales that were or will be sent to the target."""
    condition, value = tx.among("conversion_id", sorted(set(sale_ids)))
    sent = "status NOT IN ('discarded', 'shadow')"
    statement = f"SELECT conversion_id FROM deliveries WHERE destination = ? AND {sent} AND {condition}"
    return statement, target.route.name, value


def _again(
    tx: Tx, delivery: int, status: str, target: Target, *, actor: str, asked_for: bool, group: int | None
) -> ActionResult:
    """Handles a conversion that already has a delivery to the destination."""
    if status in ("pending", "retrying"):
        return ActionResult(delivery, False, f"{target.route.name} gets it already: skipped")
    if status == "delivered" and not target.force:
        return ActionResult(delivery, False, f"{target.route.name} got it already: use --force to send it again")
    if status == "discarded" and not asked_for:
        return ActionResult(delivery, False, "it is discarded: skipped")
    return replay(tx, delivery, actor=actor, force=target.force, group=group)


def _send_shadow(
    snapshot: Snapshot, delivery: int, conversion: Conversion, target: Target, *, actor: str, group: int | None
) -> ActionResult:
    """Sends a delivery recorded in shadow mode, rendered from what is known now."""
    if problem := _lacks(conversion):
        return ActionResult(delivery, False, problem)
    payload, omitted = snapshot.render(conversion, target.route)
    snapshot.tx.run(
        "UPDATE deliveries SET status = 'pending', due_at = ?, payload = ?, omitted = ?, dedupe_key = ?,"
        " last_error = NULL, note = NULL WHERE id = ? AND status = 'shadow'",
        *(snapshot.now, payload, omitted, conversion.dedupe_key, delivery),
    )
    note(snapshot.tx, actor, "replay", f"delivery {delivery}", "was shadow", part_of=group)
    return ActionResult(delivery, True, "it was shadow and is due now")


def _lacks(conversion: Conversion) -> str | None:
    if conversion.facts["sale"] is None and conversion.facts["lead"] is None:
        return "its person was forgotten, so there is nothing left to send: skipped"
    if conversion.person is None or not conversion.person.survivor().customer_id:
        return "it names no customer: skipped"
    return None


def _why_not(
    conversion: Conversion, others: Sequence[tuple[int, str]], target: Target, *, asked_for: bool
) -> str | None:
    """Why a conversion without a delivery to the destination gets none; None if it gets one."""
    name = target.route.name
    if problem := _lacks(conversion):
        return problem
    if not target.route.takes(conversion.kind, conversion.source):
        return f"{name} does not take a {conversion.kind} of {conversion.source}: skipped"
    if others and all(status == "discarded" for _, status in others) and not asked_for:
        return "it is discarded: skipped"
    is_new = conversion.kind == "refund" and not others  # no destination took refunds then
    if (not (others or is_new) or conversion.created_at < target.known_since) and not target.force:
        return f"retention may have removed its delivery to {name}: use --force to send it anyway"
    return None
