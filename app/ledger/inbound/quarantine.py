"""The quarantine: requests that were refused for their signature, kept so that they can be verified again.

Nothing in it is trusted: it becomes no event, delivery or person until its signature is verified.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.ledger import tables
from app.ledger.reading.where import Where
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.times import iso

COPIES = 2
"""Of the same body the first request and the last one are kept: their signatures may differ."""
_COLUMNS = ("id", "source", "received_at", "last_at", "count", "client", "reason", "problem", "size", "with_token")


@dataclass(frozen=True, slots=True)
class Refused:
    """A request to keep, with its credentials taken out; see the table's columns."""

    source: str
    received_at: int
    client: str
    reason: str
    digest: str
    body_digest: str
    headers: Mapping[str, str]
    body: bytes
    sealed: Mapping[str, str] = field(default_factory=dict)
    with_token: bool = False
    path: str | None = None

    @property
    def size(self) -> int:
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers.items())


@dataclass(frozen=True, slots=True)
class Held:
    """A request in the quarantine, without its body."""

    id: int
    source: str
    received_at: int
    last_at: int
    count: int
    client: str
    reason: str
    problem: str | None
    size: int
    with_token: bool

    def as_json(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in ("id", "source", "count", "client", "reason", "problem", "size")}
        return {**shown, "received_at": iso(self.received_at), "last_at": iso(self.last_at)}


@dataclass(frozen=True, slots=True)
class Content:
    """The headers and body of a request in the quarantine."""

    body_digest: str
    headers: Mapping[str, str]
    body: bytes
    sealed: Mapping[str, str]
    path: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Requests to act on: those of `ids`, or all of `source` (None: of every source), up to the ID `through`."""

    ids: tuple[int, ...] | None = None
    source: str | None = None
    through: int | None = None


def keep(tx: Tx, requests: Sequence[Refused]) -> None:
    """Puts `requests` into the quarantine; see bounds.enforce. A request that is there already is counted."""
    for refused in requests:
        known = tx.run(
            "SELECT id FROM quarantine WHERE source = ? AND digest = ?", refused.source, refused.digest
        ).scalar()
        if known is not None:
            tx.run("UPDATE quarantine SET count = count + 1, last_at = ? WHERE id = ?", refused.received_at, known)
            continue
        copies = "SELECT id FROM quarantine WHERE source = ? AND body_digest = ? ORDER BY id"
        copy_ids = list(tx.run(copies, refused.source, refused.body_digest).scalars())
        if len(copy_ids) >= COPIES:
            _replace(tx, copy_ids[-1], refused)
        else:
            _add(tx, refused)


def _add(tx: Tx, refused: Refused) -> None:
    values = {
        "source": refused.source,
        "received_at": refused.received_at,
        "last_at": refused.received_at,
        "client": refused.client,
        "reason": refused.reason,
        "size": refused.size,
        "digest": refused.digest,
        "body_digest": refused.body_digest,
        "with_token": int(refused.with_token),
        "path": refused.path,
        "sealed": json.dumps(dict(refused.sealed)) if refused.sealed else None,
        "headers": json.dumps(dict(refused.headers)),
        "body": refused.body,
    }
    tx.insert(tables.quarantine, tuple(values), [tuple(values.values())])


def _replace(tx: Tx, identity: int, refused: Refused) -> None:
    """Replaces a request with a newer one that has the same body."""
    tx.run(
        "UPDATE quarantine SET received_at = ?, last_at = ?, count = count + 1, client = ?, reason = ?, problem = NULL, digest = ?,"
        " with_token = ?, path = ?, sealed = ?, headers = ?, size = ? WHERE id = ?",
        refused.received_at,
        refused.received_at,
        refused.client,
        refused.reason,
        refused.digest,
        int(refused.with_token),
        refused.path,
        json.dumps(dict(refused.sealed)) if refused.sealed else None,
        json.dumps(dict(refused.headers)),
        refused.size,
        identity,
    )


def held(tx: Tx, *, source: str | None = None, before: int | None = None, limit: int = 50) -> list[Held]:
    """One page, newest first."""
    condition, values = ("source = ? AND ", [source]) if source else ("", [])
    rows = tx.run(
        f"SELECT {', '.join(_COLUMNS)} FROM quarantine WHERE {condition}id < ? ORDER BY id DESC LIMIT ?",
        *values,
        before or LARGEST_ID,
        limit,
    ).all()
    return [_held(row) for row in rows]


def chosen(tx: Tx, selection: Selection, *, after: int = 0, limit: int = 50) -> list[Held]:
    """The next requests of a selection, oldest first."""
    where = _of(tx, selection).add("id > ?", after)
    rows = tx.run(
        f"SELECT {', '.join(_COLUMNS)} FROM quarantine WHERE {where} ORDER BY id LIMIT ?",
        *where.values,
        limit,
    ).all()
    return [_held(row) for row in rows]


def count_chosen(tx: Tx, selection: Selection) -> tuple[int, int]:
    """How many requests of a selection are there, and the highest ID of them (0: none is)."""
    where = _of(tx, selection)
    row = tx.run(f"SELECT COUNT(*), COALESCE(MAX(id), 0) FROM quarantine WHERE {where}", *where.values).one()
    return int(row[0]), int(row[1])


def _of(tx: Tx, selection: Selection) -> Where:
    where = Where().when(selection.source, "source = ?").when(selection.through, "id <= ?")
    return where if selection.ids is None else where.add(*tx.among("id", selection.ids))


def one_held(tx: Tx, identity: int) -> tuple[Held, Content] | None:
    """A request with its body; None if there is none."""
    if identity > LARGEST_ID:
        return None
    columns = ", ".join((*_COLUMNS, "body_digest", "headers", "body", "sealed", "path"))
    row = tx.run(f"SELECT {columns} FROM quarantine WHERE id = ?", identity).first()
    if row is None:
        return None
    body_digest, headers, body, sealed, path = row[len(_COLUMNS) :]
    content = Content(body_digest, json.loads(headers), bytes(body), json.loads(sealed or "{}"), path)
    return _held(row[: len(_COLUMNS)]), content


def counts(tx: Tx) -> dict[str, int]:
    """How many requests of each source are in the quarantine."""
    rows = tx.run("SELECT source, COUNT(*) FROM quarantine GROUP BY source ORDER BY source").all()
    return {source: int(count) for source, count in rows}


def remove_taken(tx: Tx, source: str, body_digests: Sequence[str]) -> None:
    """Requests whose event is recorded now, with their repeats. Idempotent."""
    condition, value = tx.among("body_digest", sorted(set(body_digests)))
    tx.run(f"DELETE FROM quarantine WHERE source = ? AND {condition}", source, value)


def note_problems(tx: Tx, problems: Mapping[int, str]) -> None:
    """Records why requests were refused again."""
    tx.run_many(
        "UPDATE quarantine SET problem = ? WHERE id = ?", [(text, key) for key, text in sorted(problems.items())]
    )


def drop(tx: Tx, selection: Selection) -> int:
    """Removes requests for good; returns how many."""
    where = _of(tx, selection)
    return int(tx.run(f"DELETE FROM quarantine WHERE {where}", *where.values).rowcount)


def _held(row: Sequence[object]) -> Held:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Held(**{**values, "with_token": bool(values["with_token"])})  # type: ignore[arg-type]
