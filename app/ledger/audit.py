"""The audit log: who changed what, and when. Changes that the bridge makes by itself have the actor "bridge".

Many changes at once are a group: one line that says what was asked, and a line for each change, whose part_of is its ID.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app import times
from app.ledger import tables
from app.ledger.reading.where import Where
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx

COLUMNS = ("id", "at", "actor", "action", "subject", "detail")
SCAN = 20_000
"""Lines that one page looks through at most for what a filter asks."""
GROUP = "deliveries"
"""The subject of a group."""
_TARGETS = ("delivery", "event", "person", "user")
_COUNT = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines. since, until: ms. target: "delivery 12", the beginning of one, or a bare ID. part_of: the lines of a group."""

    actor: str | None = None
    action: str | None = None
    since: int | None = None
    until: int | None = None
    target: str | None = None
    part_of: int | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Newest first. next_before: where the next page continues, None at the end."""

    lines: Sequence[dict[str, Any]]
    next_before: int | None


def note(tx: Tx, actor: str, action: str, subject: str, detail: str = "", *, part_of: int | None = None) -> None:
    """One line in the audit log."""
    row = (tx.now(), actor, action, subject, detail, part_of)
    tx.insert(tables.audit, ("at", "actor", "action", "subject", "detail", "part_of"), [row])


def begin_group(tx: Tx, actor: str, action: str, asked: str = "") -> int:
    """The line of a group that begins now. asked: what it is about. Returns its ID, for the lines of the changes."""
    group_id: int = tx.run(
        "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?) RETURNING id",
        *(tx.now(), actor, action, GROUP, _detail(0, asked)),
    ).scalar_one()
    return group_id


def close_batch(tx: Tx, group: int, count: int) -> None:
    """Adds `count` changes to the group's line. Removes a group that stays empty."""
    detail = str(tx.run(f"SELECT detail FROM audit WHERE id = ?{tx.for_update}", group).scalar() or "")
    number, _, asked = detail.partition(": ")
    before = _COUNT.match(number.replace(",", ""))
    total = (int(before[0]) if before else 0) + count
    if total:
        tx.run("UPDATE audit SET detail = ? WHERE id = ?", _detail(total, asked), group)
    else:
        tx.run("DELETE FROM audit WHERE id = ? AND subject = ?", group, GROUP)


def is_group(tx: Tx, group: int, actor: str, action: str) -> bool:
    """Whether this line is that of a group that `actor` began."""
    statement = "SELECT 1 FROM audit WHERE id = ? AND subject = ? AND actor = ? AND action = ?"
    return group <= LARGEST_ID and tx.run(statement, group, GROUP, actor, action).first() is not None


def group_of(mark: str) -> int:
    """The line of the group in the name of bulk work (see actions.replay.new_mark)."""
    return int(mark.split("-", 1)[0])


def last_group(tx: Tx, actor: str, action: str) -> int | None:
    """The newest group of an actor and action."""
    statement = "SELECT id FROM audit WHERE subject = ? AND actor = ? AND action = ? ORDER BY id DESC LIMIT 1"
    group_id: int | None = tx.run(statement, GROUP, actor, action).scalar()
    return group_id


def _detail(count: int, asked: str) -> str:
    return f"{count:,}" + (f": {asked}" if asked else "")


def audit(
    tx: Tx, *, before: int | None = None, subject: str | None = None, limit: int = 50
) -> Sequence[dict[str, Any]]:
    """The newest lines, including the changes of groups. subject: only those of one subject ("delivery 12")."""
    where = Where("id < ?", before or LARGEST_ID).when(subject, "subject = ?")
    statement = f"SELECT {', '.join(COLUMNS)} FROM audit WHERE {where} ORDER BY id DESC LIMIT ?"
    return [_line(row) for row in tx.run(statement, *where.values, limit).all()]


def lines_of(tx: Tx, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """All lines of these subjects."""
    condition, value = tx.among("subject", subjects)
    return [_line(row) for row in tx.run(f"SELECT {', '.join(COLUMNS)} FROM audit WHERE {condition}", value).all()]


def audit_page(tx: Tx, criteria: AuditFilter, *, before: int | None = None, limit: int = 50) -> AuditPage:
    """One page of matching lines: each group as one line, unless a target is asked for. Each with `group`: whether it is a group's.
    A page may be short without being the last."""
    where = Where("id < ?", before or LARGEST_ID)
    if criteria.part_of is not None:
        where.add("part_of = ?", criteria.part_of)
    elif criteria.target is None:
        where.add("part_of IS NULL")
    else:
        where.add(*_named(criteria.target))
    rest = Where()
    for value, condition in (
        (criteria.actor, "actor = ?"),
        (criteria.action, "action = ?"),
        (criteria.since, "at >= ?"),
        (criteria.until, "at < ?"),
    ):
        rest.when(value, condition)
    newest = f"FROM audit WHERE {where} ORDER BY id DESC"
    names = ", ".join(COLUMNS)
    rows = tx.run(
        f"SELECT {names}, EXISTS (SELECT 1 FROM audit p WHERE p.part_of = n.id)"
        f" FROM (SELECT {names} {newest} LIMIT {SCAN}) n WHERE {rest} ORDER BY id DESC LIMIT ?",
        *where.values,
        *rest.values,
        limit,
    ).all()
    lines = [_line(row) | {"group": bool(row[-1])} for row in rows]
    if len(rows) == limit:
        return AuditPage(lines, rows[-1][0])
    following = tx.run(f"SELECT id {newest} LIMIT 1 OFFSET {SCAN - 1}", *where.values).scalar()
    return AuditPage(lines, following)


def _named(target: str) -> tuple[Any, ...]:
    """A condition on the subject, with its values."""
    if target.isdecimal():
        subjects = [f"{kind} {target}" for kind in _TARGETS]
        return f"subject IN ({', '.join('?' * len(subjects))})", *subjects
    return "subject >= ? AND subject < ?", target, f"{target}\U0010fffd"


def _line(row: Sequence[Any]) -> dict[str, Any]:
    line = dict(zip(COLUMNS, row[: len(COLUMNS)], strict=True))
    return line | {"at": times.iso(line["at"])}
