"""Finding deliveries: by what somebody has in hand (an e-mail address, an id), and failed ones by why they failed. Read only.

Everything goes by index, and every answer is bounded: a page looks at SCAN rows at most and then says where to go on, and
counts stop at SCAN.
"""

from collections.abc import Iterable, Sequence

from app.ledger.reading.filters import KINDS, MOST, Found
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.persons import normal_email, normal_phone

LAST = "\U0010ffff"
"""No text sorts after it, so [prefix, prefix + LAST) is all that begins with prefix."""


def find(tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool = False) -> Found:
    """What `text`, whole or its beginning, names: e-mail address, phone, customer id, cus_… or sub_…, invoiceId or another
    id of a purchase or submission, event id, click id; "12" is a delivery's or an event's id in the ledger.

    whole_addresses: an e-mail address only where it is whole. Beginnings would tell, letter by letter, one that is masked.
    """
    text, names = text.strip(), list(sources)
    if not text:
        return Found()
    persons = person_ids(tx, text, names, whole_addresses=whole_addresses)
    scopes = [f"{kind}:{name}:" for name in names for kind in KINDS]
    conversions = _beginning(tx, "dedupe_keys", "key", "conversion_id", text, scopes)
    events = _beginning(tx, "events", "event_key", "id", text, [f"{name}:" for name in names])
    own = int(text) if text.isascii() and text.isdigit() and int(text[:20]) <= LARGEST_ID else None
    numbers = [own] if own is not None else []
    if not (persons or conversions or events):
        persons = clicked(tx, text)
    return Found(persons, conversions, [*numbers, *events], numbers)


def person_ids(tx: Tx, text: str, sources: Iterable[str], *, whole_addresses: bool = False) -> list[int]:
    """Persons one of whose identifiers is or begins with `text`, exact ones first."""
    phone = normal_phone(text)
    forms = sorted({text, normal_email(text), *([phone] if phone else [])})
    scopes = [f"{name}:" for name in sources]
    condition, value = tx.among("value", [*forms, *(scope + text for scope in scopes)])
    exact = f"SELECT person_id FROM identifiers WHERE {condition} ORDER BY seen_at DESC LIMIT ?"
    found = dict.fromkeys(tx.run(exact, value, MOST).scalars())
    for form in forms:
        scoped = scopes if form == text else []
        table = "(SELECT * FROM identifiers WHERE value NOT LIKE '%@%') i" if whole_addresses else "identifiers"
        found |= dict.fromkeys(_beginning(tx, table, "value", "person_id", form, scoped))
    return list(found)[:MOST]


def clicked(tx: Tx, click_id: str) -> list[int]:
    """Persons whose first or last click id is this one or begins with it."""
    found: dict[int, None] = {}
    for column, condition in (("click_first", "click_first IS NOT NULL"), ("click_last", "click_last <> click_first")):
        statement = (
            f"SELECT id FROM persons WHERE {condition} AND {column} >= ? AND {column} < ? ORDER BY {column} LIMIT ?"
        )
        found |= dict.fromkeys(tx.run(statement, click_id, click_id + LAST, MOST).scalars())
    return list(found)[:MOST]


def _beginning(tx: Tx, table: str, key: str, wanted: str, text: str, scopes: Sequence[str]) -> list[int]:
    """Values of `wanted` where `key` begins with text, or with one of `scopes` and then text; in one statement, since each is
    a way to the database and back."""
    one = f"SELECT found FROM (SELECT {wanted} AS found FROM {table} WHERE {key} >= ? AND {key} < ? ORDER BY {key} LIMIT ?) {{}}"
    prefixes = [text, *(scope + text for scope in scopes)]
    statement = " UNION ALL ".join(one.format(f"p{number}") for number in range(len(prefixes)))
    values = [value for prefix in prefixes for value in (prefix, prefix + LAST, MOST)]
    return list(dict.fromkeys(tx.run(statement, *values).scalars()))[:MOST]


def deliveries_of(tx: Tx, found: Found, limit: int = MOST) -> list[int]:
    """Ids of the deliveries that `found` leads to, newest first."""
    parts, values = [], []
    events = "SELECT conversion_id FROM events WHERE {} AND conversion_id IS NOT NULL"
    for column, ids in (("person_id", found.person_ids), ("conversion_id", found.conversion_ids)):
        condition, value = tx.among(column, ids)
        parts.append(f"SELECT id FROM deliveries WHERE {condition}")
        values.append(value)
    condition, value = tx.among("id", found.event_ids)
    parts.append(f"SELECT id FROM deliveries WHERE conversion_id IN ({events.format(condition)})")
    values.append(value)
    condition, value = tx.among("id", found.delivery_ids)
    parts.append(f"SELECT id FROM deliveries WHERE {condition}")
    statement = f"{' UNION '.join(parts)} ORDER BY id DESC LIMIT ?"
    return list(tx.run(statement, *values, value, limit).scalars())
