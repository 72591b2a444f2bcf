"""Finds a person's names outside their own rows: in bodies and texts, in any encoding of their address."""

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote_plus

from app.ledger.engine import Ledger, look
from app.ledger.sealing.columns import SEALED
from app.ledger.transaction import Tx
from app.persons import normal_email, normal_phone

WINDOW = 5000
"""Events per read."""
MOST = 24
"""The most names to search bodies for; email addresses come first."""
SHORTEST_ID = 6
"""A shorter ID may be any word of a body."""
GONE = "***"
TEXTS = (
    ("conflicts", "id", ("reason",)),
    ("audit", "id", ("subject", "detail")),
    ("alerts", "topic", ("detail", "problem")),
    ("destinations", "name", ("paused_reason",)),
    ("last_refusals", "topic", ("detail",)),
    ("sandbox_requests", "id", ("idempotency_key", "problem", "body")),
)
"""Small tables that may quote what came in or what a destination answered: name, key, columns."""


class Traces:
    """The names of one or more people, and how to find them in text. Matches whole names only: not ada@example.com in
    nada@example.com."""

    def __init__(self, names: Iterable[str]) -> None:
        chosen = sorted({name for name in names if is_telling(name)}, key=lambda name: ("@" not in name, name))
        self.names = chosen[:MOST]
        spellings = {spelling for name in self.names for spelling in _spellings(name)}
        self.spellings = sorted(spellings, key=len, reverse=True)
        words = "|".join(re.escape(spelling) for spelling in self.spellings)
        self._pattern = re.compile(rf"(?<![\w.+%-])(?:{words})(?![\w-]|\.\w)", re.IGNORECASE) if words else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def names_them(self, text: str) -> bool:
        """Whether `text` mentions one of them, form-encoded text included."""
        if self._pattern is None:
            return False
        return bool(self._pattern.search(text) or ("%" in text and self._pattern.search(unquote_plus(text))))

    def redacted(self, text: str) -> str:
        """`text` with the names removed."""
        return self._pattern.sub(GONE, text) if self._pattern is not None else text

    def condition(self, tx: Tx, column: str) -> tuple[str, list[str]]:
        """A condition that `column` (bytes) contains one of the spellings, in any case. It may match more than `names_them`,
        never less."""
        if tx.is_sealed:
            return "1 = 1", []
        if tx.is_sqlite:
            term, values = f"instr(lower(CAST({column} AS TEXT)), ?) > 0", [text.lower() for text in self.spellings]
        else:  # escaped text exists for every byte, so that no body is refused
            term, values = (
                f"strpos(lower(encode({column}, 'escape')), ?) > 0",
                [_escaped(text) for text in self.spellings],
            )
        return " OR ".join([term] * len(self.spellings)), values


def events_naming(ledger: Ledger, traces: Traces, after: int = 0) -> Iterator[int]:
    """IDs of all events whose body mentions them. Reads every body, in short transactions."""
    while traces:
        with look(ledger) as tx:
            event_ids, last = _window(tx, traces, after)
        yield from event_ids
        if last is None:
            return
        after = last


def recent_events_naming(tx: Tx, traces: Traces, after: int) -> list[int]:
    """The same for events with IDs above `after`, within the caller's transaction."""
    event_ids: list[int] = []
    last: int | None = after
    while traces and last is not None:
        more, last = _window(tx, traces, last)
        event_ids += more
    return event_ids


def _window(tx: Tx, traces: Traces, after: int) -> tuple[list[int], int | None]:
    last = tx.run(
        f"SELECT MAX(id) FROM (SELECT id FROM events WHERE id > ? ORDER BY id LIMIT {WINDOW}) n", after
    ).scalar()
    if last is None:
        return [], None
    condition, values = traces.condition(tx, "body")
    rows = tx.run(f"SELECT id, body FROM events WHERE id > ? AND id <= ? AND ({condition})", after, last, *values).all()
    return [row[0] for row in rows if traces.names_them(bytes(row[1]).decode("utf-8", "replace"))], last


def held_naming(tx: Tx, traces: Traces) -> list[int]:
    """IDs of the requests in the quarantine that mention them: in the body or a header."""
    if not traces:
        return []
    in_body, bodies = traces.condition(tx, "body")
    headers = " OR ".join(["lower(headers) LIKE ? ESCAPE '!'"] * len(traces.spellings))
    patterns = [f"%{literal(json.dumps(spelling)[1:-1].lower())}%" for spelling in traces.spellings]
    statement = f"SELECT id, headers, body FROM quarantine WHERE {in_body} OR {headers}"
    request_ids = []
    for identity, kept, body in tx.run(statement, *bodies, *patterns).all():
        text = f"{json.dumps(json.loads(kept), ensure_ascii=False)}\n{bytes(body).decode('utf-8', 'replace')}"
        if traces.names_them(text):
            request_ids.append(int(identity))
    return request_ids


def redact_texts(tx: Tx, traces: Traces) -> None:
    """Removes the names from the small tables."""
    for table, key, columns in TEXTS if traces else ():
        for column in columns:
            condition = " OR ".join([f"{column} LIKE ? ESCAPE '!'"] * len(traces.spellings))
            patterns = [f"%{literal(spelling)}%" for spelling in traces.spellings]
            if tx.is_sealed and column in SEALED.get(table, ()):
                condition, patterns = f"{column} IS NOT NULL", []
            if not tx.is_sqlite:
                condition = condition.replace(" LIKE ", " ILIKE ")
            rows = tx.run(f"SELECT {key}, {column} FROM {table} WHERE {condition}", *patterns).all()
            redacted = [(traces.redacted(text), identity, text) for identity, text in rows]
            changed = [(new, identity) for new, identity, text in redacted if new != text]
            tx.run_many(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", changed)


def is_telling(name: str) -> bool:
    """Whether a name is specific enough that it cannot be an unrelated word of a body."""
    return "@" in name or (len(name) >= SHORTEST_ID and not name.isdigit())


def _spellings(name: str) -> set[str]:
    """The spellings of `name` in JSON, forms and URLs."""
    as_json = json.dumps(name)[1:-1]
    spellings = {
        name,
        as_json,
        quote(name, safe=""),
        quote_plus(name),
        name.replace("@", "%40"),
        name.replace("@", "\\u0040"),
    }
    return spellings | {spelling.replace("%", "%25") for spelling in spellings if "%" in spelling}


def _escaped(text: str) -> str:
    """As PostgreSQL's encode(…, 'escape') writes these bytes, in lower case."""
    shown = (
        "\\\\" if byte == 0x5C else chr(byte) if 0 < byte < 0x80 else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "replace")
    )
    return "".join(shown).lower()


def literal(text: str) -> str:
    """`text` escaped for LIKE … ESCAPE '!'."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def forms_of(name: str) -> set[str]:
    """`name` normalized as each kind of identifier."""
    return {name.strip(), normal_email(name), normal_phone(name) or name.strip()}
