"""Finding deliveries: by what somebody has in hand (an e-mail address, an id), and failed ones by why they failed. Read only.

Everything goes by index, and every answer is bounded: a page looks at SCAN rows at most and then says where to go on, and
counts stop at SCAN.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from app.identity import normal_email, normal_phone
from app.ledger import queries
from app.ledger.engine import Ledger
from app.ledger.tables import LARGEST_ID

FAILED = ("dead", "retrying")
_FAILED = "d.status IN ('dead', 'retrying') AND d.status = ?"
"""As the index ix_deliveries_failed says it, by which SQLite sees that the index will do."""
SCAN = 10_000
MOST = 500
"""Persons, conversions or events that one search finds at most."""
LAST = "\U0010ffff"
"""No text sorts after it, so [prefix, prefix + LAST) is all that begins with prefix."""
KINDS = ("sale", "lead")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries. since and until in ms; reason is the exact error, "" for none; text is what was searched for (see
    `find` for whole_addresses), and delivery_ids what it leads to, where that is known already (`resolve`)."""

    statuses: Sequence[str] = FAILED
    source: str | None = None
    kind: str | None = None
    destination: str | None = None
    code: int | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    whole_addresses: bool = False
    delivery_ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a searched text names."""

    person_ids: Sequence[int] = ()
    conversion_ids: Sequence[int] = ()
    event_ids: Sequence[int] = ()
    delivery_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows, newest first. next_before: where the next page goes on, None at the end."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    next_before: int | None = None


def find(
    ledger: Ledger, connection: Connection, text: str, sources: Iterable[str], *, whole_addresses: bool = False
) -> Found:
    """What `text`, whole or its beginning, names: e-mail address, phone, customer id, cus_… or sub_…, invoiceId or another
    id of a purchase or submission, event id, click id; "12" is a delivery's or an event's id in the ledger.

    whole_addresses: an e-mail address only where it is whole. Beginnings would tell, letter by letter, one that is masked.
    """
    text, names = text.strip(), list(sources)
    if not text:
        return Found()
    persons = person_ids(ledger, connection, text, names, whole_addresses=whole_addresses)
    scopes = [f"{kind}:{name}:" for name in names for kind in KINDS]
    conversions = _beginning(ledger, connection, "dedupe_keys", "key", "conversion_id", text, scopes)
    events = _beginning(ledger, connection, "events", "event_key", "id", text, [f"{name}:" for name in names])
    own = int(text) if text.isascii() and text.isdigit() and int(text[:20]) <= LARGEST_ID else None
    numbers = [own] if own is not None else []
    if not (persons or conversions or events):
        persons = clicked(ledger, connection, text)
    return Found(persons, conversions, [*numbers, *events], numbers)


def person_ids(
    ledger: Ledger, connection: Connection, text: str, sources: Iterable[str], *, whole_addresses: bool = False
) -> list[int]:
    """Persons one of whose identifiers is or begins with `text`, exact ones first."""
    phone = normal_phone(text)
    forms = sorted({text, normal_email(text), *([phone] if phone else [])})
    scopes = [f"{name}:" for name in sources]
    condition, value = ledger.among("value", [*forms, *(scope + text for scope in scopes)])
    exact = f"SELECT person_id FROM identifiers WHERE {condition} ORDER BY seen_at DESC LIMIT ?"
    found = dict.fromkeys(ledger.run(connection, exact, value, MOST).scalars())
    for form in forms:
        scoped = scopes if form == text else []
        table = "(SELECT * FROM identifiers WHERE value NOT LIKE '%@%') i" if whole_addresses else "identifiers"
        found |= dict.fromkeys(_beginning(ledger, connection, table, "value", "person_id", form, scoped))
    return list(found)[:MOST]


def clicked(ledger: Ledger, connection: Connection, click_id: str) -> list[int]:
    """Persons whose first or last click id is this one or begins with it."""
    found: dict[int, None] = {}
    for column, condition in (("click_first", "click_first IS NOT NULL"), ("click_last", "click_last <> click_first")):
        statement = (
            f"SELECT id FROM persons WHERE {condition} AND {column} >= ? AND {column} < ? ORDER BY {column} LIMIT ?"
        )
        found |= dict.fromkeys(ledger.run(connection, statement, click_id, click_id + LAST, MOST).scalars())
    return list(found)[:MOST]


def _beginning(
    ledger: Ledger, connection: Connection, table: str, key: str, wanted: str, text: str, scopes: Sequence[str]
) -> list[int]:
    """Values of `wanted` where `key` begins with text, or with one of `scopes` and then text; in one statement, since each is
    a way to the database and back."""
    one = f"SELECT found FROM (SELECT {wanted} AS found FROM {table} WHERE {key} >= ? AND {key} < ? ORDER BY {key} LIMIT ?) {{}}"
    prefixes = [text, *(scope + text for scope in scopes)]
    statement = " UNION ALL ".join(one.format(f"p{number}") for number in range(len(prefixes)))
    values = [value for prefix in prefixes for value in (prefix, prefix + LAST, MOST)]
    return list(dict.fromkeys(ledger.run(connection, statement, *values).scalars()))[:MOST]


def deliveries_of(ledger: Ledger, connection: Connection, found: Found, limit: int = MOST) -> list[int]:
    """Ids of the deliveries that `found` leads to, newest first."""
    parts, values = [], []
    events = "SELECT conversion_id FROM events WHERE {} AND conversion_id IS NOT NULL"
    for column, ids in (("person_id", found.person_ids), ("conversion_id", found.conversion_ids)):
        condition, value = ledger.among(column, ids)
        parts.append(f"SELECT id FROM deliveries WHERE {condition}")
        values.append(value)
    condition, value = ledger.among("id", found.event_ids)
    parts.append(f"SELECT id FROM deliveries WHERE conversion_id IN ({events.format(condition)})")
    values.append(value)
    condition, value = ledger.among("id", found.delivery_ids)
    parts.append(f"SELECT id FROM deliveries WHERE {condition}")
    statement = f"{' UNION '.join(parts)} ORDER BY id DESC LIMIT ?"
    return list(ledger.run(connection, statement, *values, value, limit).scalars())


def resolve(ledger: Ledger, connection: Connection, wanted: Filter, sources: Iterable[str]) -> Filter:
    """The same filter with what its text leads to, for one who asks several things of it."""
    if not wanted.text or wanted.delivery_ids is not None:
        return wanted
    found = find(ledger, connection, wanted.text, sources, whole_addresses=wanted.whole_addresses)
    return replace(wanted, delivery_ids=deliveries_of(ledger, connection, found))


def failed(
    ledger: Ledger,
    connection: Connection,
    wanted: Filter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int = 50,
) -> Page:
    """One page of deliveries that match, newest first, with ids below `before`."""
    found, next_before = ids(ledger, connection, wanted, sources, before=before, limit=limit)
    return Page(queries.deliveries_by_id(ledger, connection, found), next_before)


def ids(
    ledger: Ledger,
    connection: Connection,
    wanted: Filter,
    sources: Iterable[str],
    *,
    before: int | None = None,
    limit: int,
) -> tuple[list[int], int | None]:
    """Ids that match, newest first, and below which id to go on (None: that was all). The page may be short of `limit`."""
    rows, values, floor = _rows("d.id", ledger, connection, wanted, sources, before)
    found = list(ledger.run(connection, f"{rows} ORDER BY 1 DESC LIMIT ?", *values, limit).scalars())
    return found, found[-1] if len(found) == limit else floor


def count(ledger: Ledger, connection: Connection, wanted: Filter, sources: Iterable[str]) -> tuple[int, bool]:
    """How many match among the newest, and whether that is all there are."""
    rows, values, floor = _rows("d.id", ledger, connection, wanted, sources, None)
    counted = ledger.run(connection, f"SELECT COUNT(*) FROM ({rows}) d", *values).scalar_one()
    return int(counted), floor is None


def groups(
    ledger: Ledger, connection: Connection, wanted: Filter, sources: Iterable[str], limit: int = 30
) -> list[dict[str, Any]]:
    """The same status and message together, the one that failed last first: {status, code, reason, count, oldest, newest,
    answer}; answer is the body of the destination's last one."""
    columns = "d.status, d.last_status, d.last_error, d.id, d.created_at"
    rows, values, _ = _rows(columns, ledger, connection, wanted, sources, None)
    found = ledger.run(
        connection,
        "SELECT status, last_status, last_error, COUNT(*), MIN(created_at), MAX(created_at), MAX(id)"
        f" FROM ({rows}) d GROUP BY status, last_status, last_error ORDER BY 7 DESC LIMIT ?",
        *values,
        limit,
    ).all()
    answer = "SELECT answer_body FROM attempts WHERE delivery_id = ? ORDER BY id DESC LIMIT 1"
    return [
        {
            "status": status,
            "code": code,
            "reason": why,
            "count": n,
            "oldest": queries.iso(low),
            "newest": queries.iso(high),
            "answer": ledger.run(connection, answer, last).scalar(),
        }
        for status, code, why, n, low, high, last in found
    ]


def _rows(
    columns: str, ledger: Ledger, connection: Connection, wanted: Filter, sources: Iterable[str], before: int | None
) -> tuple[str, list[Any], int | None]:
    """A SELECT of all that match among the newest SCAN of each status below `before`, its values, and down to which id that
    is; None where no older ones are left out."""
    below = LARGEST_ID if before is None else before
    conditions, more = _conditions(wanted)
    floor = None
    if wanted.text:
        wanted = resolve(ledger, connection, wanted, sources)
        condition, value = ledger.among("d.id", wanted.delivery_ids or ())
        conditions, more = f"{condition} AND {conditions}", [value, *more]
    else:
        floor = _floor(ledger, connection, wanted.statuses, below)
    parts, values = [], []
    for status in wanted.statuses:  # one SELECT each, so that each goes by the index on status and id
        parts.append(
            f"SELECT {columns} FROM deliveries d WHERE {_of(status)} AND d.id < ? AND d.id >= ? AND {conditions}"
        )
        values += [status, below, floor or 0, *more]
    return " UNION ALL ".join(parts), values, floor


def _floor(ledger: Ledger, connection: Connection, statuses: Sequence[str], below: int) -> int | None:
    statement = f"SELECT id FROM deliveries d WHERE {{}} AND id < ? ORDER BY id DESC LIMIT 1 OFFSET {SCAN - 1}"
    floors = [ledger.run(connection, statement.format(_of(one)), one, below).scalar() for one in statuses]
    return max((floor for floor in floors if floor is not None), default=None)


def _of(status: str) -> str:
    return _FAILED if status in FAILED else "d.status = ?"


def _conditions(wanted: Filter) -> tuple[str, list[Any]]:
    conditions, values = ["1 = 1"], []
    for condition, value in (
        ("d.source = ?", wanted.source),
        ("d.kind = ?", wanted.kind),
        ("d.destination = ?", wanted.destination),
        ("d.last_status = ?", wanted.code),
        ("COALESCE(d.last_error, '') = ?", wanted.reason),
        ("d.created_at >= ?", wanted.since),
        ("d.created_at < ?", wanted.until),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return " AND ".join(conditions), values
