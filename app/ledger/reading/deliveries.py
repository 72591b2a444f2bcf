"""Reads deliveries: lists, and one delivery with its story. Read only and by index."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from app import times
from app.errors import DeliveryNotFound
from app.ledger.actions.edit import why_not_editable
from app.ledger.audit import audit
from app.ledger.engine import Ledger
from app.ledger.reading import events
from app.ledger.reading import rows as reading_rows
from app.ledger.reading.filters import _FAILED, FAILED, SCAN, Filter, Page
from app.ledger.reading.money import refunds, stake
from app.ledger.reading.rows import (
    DELIVERIES,
    DELIVERY,
    EVENT,
    PAGE,
    WITHOUT_CLICK,
    delivery_row,
    event_rows,
    every_row,
)
from app.ledger.reading.search import deliveries_of, find
from app.ledger.reading.summary import stats
from app.ledger.reading.where import Where, bounds, matched_at
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.model import STATUSES
from app.times import iso

EVERY = Filter(statuses=STATUSES)


def deliveries(
    tx: Tx,
    *,
    status: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> list[dict[str, Any]]:
    """One page of deliveries, newest first, with IDs below `before`."""
    if status is not None:
        # IDs first: asked for whole rows, PostgreSQL may walk through a backlog for those of a common status.
        where = Where("status = ?", status).when(before, "id < ?")
        newest = f"SELECT id FROM deliveries WHERE {where} ORDER BY id DESC LIMIT ?"
        return reading_rows.deliveries_by_id(tx, list(tx.run(newest, *where.values, limit).scalars()))
    where = Where().when(before, "d.id < ?")
    statement = f"SELECT {DELIVERY} FROM {DELIVERIES} WHERE {where} ORDER BY d.id DESC LIMIT ?"
    return [delivery_row(row) for row in tx.run(statement, *where.values, limit).all()]


def all_deliveries(
    ledger: Ledger, criteria: Filter = EVERY, sources: Iterable[str] = (), limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """All deliveries that match, or the newest `limit`, newest first."""
    names = list(sources)

    def page_of(tx: Tx, before: int | None, most: int) -> Page:
        return deliveries_that_match(tx, criteria, names, before=before, limit=most)

    return every_row(ledger, page_of, limit)


def delivery(tx: Tx, delivery_id: int) -> dict[str, Any]:
    """One delivery with its attempts, its event, and the other events of its conversion. Raises DeliveryNotFound."""
    if delivery_id > LARGEST_ID:
        raise DeliveryNotFound(delivery_id)
    row = tx.run(
        f"SELECT {DELIVERY} FROM {DELIVERIES} WHERE d.id = ?",
        delivery_id,
    ).first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    shown = delivery_row(row)
    shown["attempt_list"] = attempts(tx, delivery_id)
    statement = f"SELECT {EVENT} FROM events WHERE conversion_id = ? ORDER BY id LIMIT 100"
    shown["events"] = event_rows(tx, tx.run(statement, shown["conversion_id"]).all())
    refunds.add_story(tx, shown, (json.loads(row[20]) if row[20] else {}).get("sale"))
    shown["waits_for"] = waits_for(tx, shown)
    return shown


def waits_for(tx: Tx, delivery: dict[str, Any]) -> int | None:
    """The delivery that an open one waits for, or None."""
    return refunds.waits_for(tx, delivery) if delivery["kind"] == "refund" else _lead_before(tx, delivery)


def _lead_before(tx: Tx, delivery: dict[str, Any]) -> int | None:
    """The ID of the open Lead of the same person that an open Sale waits for (HOLD_SECONDS at most), or None."""
    if delivery["kind"] != "sale" or delivery["status"] not in ("pending", "retrying") or delivery["sending"]:
        return None
    lead_id: int | None = tx.run(
        "SELECT id FROM deliveries WHERE person_id = ? AND destination = ? AND due_at IS NOT NULL AND id < ? AND kind = 'lead'"
        " ORDER BY id LIMIT 1",
        delivery["person_id"],
        delivery["destination"],
        delivery["id"],
    ).scalar()
    return lead_id


def attempts(tx: Tx, delivery_id: int) -> list[dict[str, Any]]:
    """All attempts of a delivery, oldest first."""
    return attempts_of(tx, [delivery_id]).get(delivery_id, [])


def attempts_of(tx: Tx, delivery_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """All attempts of these deliveries, oldest first."""
    condition, value = tx.among("delivery_id", delivery_ids)
    rows = tx.run(
        "SELECT delivery_id, number, result, by_hand, started_at, duration_ms, status, error, answer_headers, answer_body"
        f" FROM attempts WHERE {condition} ORDER BY id",
        value,
    )
    made: dict[int, list[dict[str, Any]]] = {}
    for delivery_id, number, result, by_hand, started_at, duration_ms, status, error, headers, body in rows.all():
        made.setdefault(delivery_id, []).append(
            {
                "number": number,
                "result": result,
                "by_hand": bool(by_hand),
                "started_at": iso(started_at),
                "duration_ms": duration_ms,
                "status": status,
                "error": error,
                "answer_headers": json.loads(headers) if headers else None,
                "answer_body": body,
            }
        )
    return made


def deliveries_that_match(
    tx: Tx,
    criteria: Filter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int,
) -> Page:
    """One page, newest first, with IDs below `before`. It may be shorter than `limit`, or empty, without being the last."""
    is_plain = criteria == Filter(statuses=criteria.statuses, whole_addresses=criteria.whole_addresses)
    if is_plain and len(criteria.statuses) in (1, len(STATUSES)):
        status = criteria.statuses[0] if len(criteria.statuses) == 1 else None
        rows = deliveries(tx, status=status, before=before, limit=limit)
        return Page(rows, rows[-1]["id"] if len(rows) == limit else None)
    return failed(tx, criteria, sources, before=before, limit=limit)


def resolve(tx: Tx, criteria: Filter, sources: Iterable[str]) -> Filter:
    """The filter with its text resolved to deliveries, for a caller that uses it several times."""
    if not criteria.text or criteria.delivery_ids is not None:
        return criteria
    matches = find(tx, criteria.text, sources, whole_addresses=criteria.whole_addresses)
    return replace(criteria, delivery_ids=deliveries_of(tx, matches))


def failed(
    tx: Tx,
    criteria: Filter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int = 50,
) -> Page:
    """One page of matching deliveries, newest first, with IDs below `before`."""
    delivery_ids, next_before = ids(tx, criteria, sources, before=before, limit=limit)
    return Page(reading_rows.deliveries_by_id(tx, delivery_ids), next_before)


def ids(
    tx: Tx,
    criteria: Filter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int,
) -> tuple[list[int], int | None]:
    """Matching IDs, newest first, and below which ID to continue (None: that was all). The page may be shorter than `limit`."""
    rows, values, floor = _rows("d.id", tx, criteria, sources, before)
    matching = list(tx.run(f"{rows} ORDER BY 1 DESC LIMIT ?", *values, limit).scalars())
    return matching, matching[-1] if len(matching) == limit else floor


def count(tx: Tx, criteria: Filter, sources: Iterable[str]) -> tuple[int, bool]:
    """How many of the newest deliveries match, and whether that covers all deliveries."""
    rows, values, floor = _rows("d.id", tx, criteria, sources, None)
    counted = tx.run(f"SELECT COUNT(*) FROM ({rows}) d", *values).scalar_one()
    return int(counted), floor is None


def at_stake(tx: Tx, criteria: Filter, sources: Iterable[str]) -> stake.Stake:
    """The money of the deliveries that `count` counts, from the newest stake.ADDED of each status."""
    parts = [
        _rows("d.conversion_id", tx, replace(criteria, statuses=(status,)), sources, None, stake.ADDED)
        for status in criteria.statuses
    ]
    values = [value for _, values, _ in parts for value in values]
    is_capped = any(floor is not None for *_, floor in parts)
    return stake.stake(tx, " UNION ALL ".join(rows for rows, *_ in parts), *values, is_capped=is_capped)


def breakdown(tx: Tx, criteria: Filter, sources: Iterable[str]) -> dict[str, dict[str, int]]:
    """The result of `count` by kind and by destination."""
    rows, values, _ = _rows("d.kind, d.destination", tx, criteria, sources, None)
    statement = f"SELECT kind, destination, COUNT(*) FROM ({rows}) d GROUP BY kind, destination ORDER BY 3 DESC"
    kinds: dict[str, int] = {}
    destinations: dict[str, int] = {}
    for kind, destination, number in tx.run(statement, *values).all():
        kinds[kind] = kinds.get(kind, 0) + int(number)
        destinations[destination] = destinations.get(destination, 0) + int(number)
    return {"kinds": kinds, "destinations": destinations}


def groups(tx: Tx, criteria: Filter, sources: Iterable[str], limit: int = 30) -> list[dict[str, Any]]:
    """Groups deliveries by status and message, the most recent failure first: {status, code, reason, count, stake, oldest,
    newest, answer}. answer: the body of the destination's last one."""
    columns = "d.status, d.last_status, d.last_error, d.id, d.created_at"
    rows, values, _ = _rows(columns, tx, criteria, sources, None)
    failures = tx.run(
        "SELECT status, last_status, last_error, COUNT(*), MIN(created_at), MAX(created_at), MAX(id)"
        f" FROM ({rows}) d GROUP BY status, last_status, last_error ORDER BY 7 DESC LIMIT ?",
        *values,
        limit,
    ).all()
    answer = "SELECT answer_body FROM attempts WHERE delivery_id = ? ORDER BY id DESC LIMIT 1"
    money = {status: _stakes(tx, replace(criteria, statuses=(status,)), sources) for status in criteria.statuses}
    return [
        {
            "status": status,
            "code": code,
            "reason": why,
            "count": n,
            "stake": money[status].get((code, why), stake.NOTHING),
            "oldest": times.iso(low),
            "newest": times.iso(high),
            "answer": tx.run(answer, last).scalar(),
        }
        for status, code, why, n, low, high, last in failures
    ]


def _stakes(tx: Tx, criteria: Filter, sources: Iterable[str]) -> dict[tuple[Any, ...], stake.Stake]:
    """The money by answer and reason."""
    rows, values, floor = _rows(
        "d.last_status, d.last_error, d.conversion_id", tx, criteria, sources, None, stake.ADDED
    )
    return stake.stakes(tx, ("last_status", "last_error"), rows, *values, is_capped=floor is not None)


def _rows(
    columns: str, tx: Tx, criteria: Filter, sources: Iterable[str], before: int | None, scan: int = SCAN
) -> tuple[str, list[Any], int | None]:
    """A SELECT of all matches among the newest `scan` of each status below `before`, its values, and the lowest ID it covers;
    None if it covers all."""
    below, lowest = bounds(tx, criteria, LARGEST_ID if before is None else before)
    floor, ids = None, None
    if criteria.text or criteria.delivery_ids is not None:
        ids = tx.among("d.id", resolve(tx, criteria, sources).delivery_ids or ())
    else:
        floor = _floor(tx, criteria.statuses, below, scan)
        floor = floor if floor is not None and floor > lowest else None
    parts, values = [], []
    for status in criteria.statuses:  # one SELECT each, so that each uses the index on status and id
        # From the newest of this status on: PostgreSQL may read a backlog of another status that is newer than all of them.
        top = below if ids is not None else (_newest(tx, status, below) or 0) + 1
        where = Where(_of(status), status).add("d.id < ?", top).add("d.id >= ?", floor or lowest)
        if ids is not None:
            where.add(*ids)
        for condition, value in (
            ("d.source = ?", criteria.source),
            ("d.kind = ?", criteria.kind),
            ("d.destination = ?", criteria.destination),
            ("d.last_status = ?", criteria.code),
            ("COALESCE(d.last_error, '') = ?", criteria.reason),
            ("d.created_at >= ?", criteria.since),
            ("d.created_at < ?", criteria.until),
            ("d.delivered_at >= ?", criteria.delivered_since),
            ("d.delivered_at < ?", criteria.delivered_until),
        ):
            where.when(value, condition)
        if criteria.click is not None:
            where.add(f"{WITHOUT_CLICK.format('d.conversion_id')}")
        if criteria.as_of is not None:
            matched = matched_at(criteria, criteria.as_of)
            where.add(str(matched), *matched.values)
        parts.append(f"SELECT {columns} FROM deliveries d WHERE {where}")
        values += where.values
    return " UNION ALL ".join(parts), values, floor


def _floor(tx: Tx, statuses: Sequence[str], below: int, scan: int) -> int | None:
    statement = f"SELECT id FROM deliveries d WHERE {{}} AND id < ? ORDER BY id DESC LIMIT 1 OFFSET {scan - 1}"
    floors = [tx.run(statement.format(_of(status)), status, below).scalar() for status in statuses]
    return max((floor for floor in floors if floor is not None), default=None)


def _newest(tx: Tx, status: str, below: int) -> int | None:
    """The highest ID of this status below `below`; None if there is none. Only the index on status and ID has this order."""
    statement = "SELECT status, id FROM deliveries WHERE (status, id) < (?, ?) ORDER BY status DESC, id DESC LIMIT 1"
    row = tx.run(statement, status, below).first()
    return row[1] if row is not None and row[0] == status else None


def _of(status: str) -> str:
    return _FAILED if status in FAILED else "d.status = ?"


def story(tx: Tx, delivery_id: int) -> dict[str, Any]:
    """A delivery as `delivery` returns it, with these keys added:

    text (its payload to the byte), origin (its event with headers and body), person (id, name and provider_id), keys (the dedupe
    keys of its conversion), lines (of the audit log), not_editable (why it cannot be edited, None if it can), may_undo (it was
    discarded by hand), tries (attempts of the present schedule), pauses (its destination's, None if no worker served it yet),
    and elsewhere (the deliveries of the same conversion to other destinations). Raises DeliveryNotFound.
    """
    shown = delivery(tx, delivery_id)
    statement = "SELECT payload, attempts - schedule_start FROM deliveries WHERE id = ?"
    shown["text"], shown["tries"] = tx.run(statement, delivery_id).one()
    shown["origin"] = events.event(tx, shown["event"])
    statement = "SELECT id, name, email, provider_id FROM persons WHERE id = ?"
    row = tx.run(statement, shown["person_id"]).first()
    shown["person"] = {"id": row[0], "name": row[1] or row[2], "provider_id": row[3]} if row else None
    statement = "SELECT key FROM dedupe_keys WHERE conversion_id = ? ORDER BY key LIMIT 20"
    shown["keys"] = list(tx.run(statement, shown["conversion_id"]).scalars())
    shown["lines"] = audit(tx, subject=f"delivery {delivery_id}", limit=50)
    pauses = {destination["name"]: destination for destination in stats.destinations(tx)}
    shown["pauses"] = pauses.get(shown["destination"])
    recorded = shown["origin"]["deliveries"] if shown["origin"] else []
    shown["elsewhere"] = [
        other for other in recorded if other["id"] != delivery_id and other["conversion_id"] == shown["conversion_id"]
    ]
    shown["not_editable"] = why_not_editable(tx, shown)
    shown["may_undo"] = shown["status"] == "discarded" and any(line["action"] == "discard" for line in shown["lines"])
    return shown
