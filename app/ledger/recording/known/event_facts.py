"""What uncounted events say about a purchase and its person, kept per event.

Two readers use it: a later event that counts the same purchase takes from it what it does not say itself, and the search finds
parked and ignored events by everything that could be read from them. Plain objects; no SQL.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from app.clicks import values_of
from app.ledger.tables import KEY_KINDS
from app.model import Who
from app.persons import Identifier, Person, normal_email
from app.text import storable

LONGEST_NAME = 200
MOST_PARTS = 4
"""Of a name: whole, and without its first words."""
MOST_ROWS = 60
"""Of one event."""

CLICK = "click:"
"""Before the name of a click id that is not the main one: its kind."""

Row = tuple[str, str, str | None]
"""value (as it is compared), kind, and the text as it was given where that differs."""


@dataclass(slots=True, eq=False)
class EventFacts:
    """One uncounted event: its outcome, the kind of its keys, its person if known, and what else it says."""

    event_id: int
    outcome: str
    key_kind: str
    person: Person | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        """The keys of its purchase or submission, as fact_key builds them."""
        return {value for value, kind, _ in self.rows if kind in KEY_KINDS}

    @property
    def who(self) -> Who:
        """The person that its rows describe."""
        fields: dict[str, Any] = {"is_reference": any(kind == "reference" for _, kind, _ in self.rows)}
        for value, kind, original in self.rows:
            if kind in _FIELDS:
                fields.setdefault(_FIELDS[kind], original or value)
        clicks = {
            kind.removeprefix(CLICK): original or value for value, kind, original in self.rows if kind.startswith(CLICK)
        }
        return Who(**fields, aliases=tuple(value for value, kind, _ in self.rows if kind == "alias"), clicks=clicks)


_FIELDS = {
    "id": "customer_id",
    "reference": "customer_id",
    "click": "click_id",
    "email": "email",
    "name": "name",
    "phone": "phone",
}


def rows_of(
    who: Who, identifiers: Iterable[Identifier], keys: Iterable[str], key_kind: str, person: Person | None
) -> list[Row]:
    """The rows of one event: its keys, and everything that the search does not find through `person` already."""
    rows: list[Row] = [(key, key_kind, None) for key in keys]
    if stated := list(_said(who, identifiers)):
        known = _known_of(person) if person is not None else set()
        rows += [row for row in stated if row[:2] not in known]
    return list({row[:2]: row for row in map(_bounded, rows) if row[0]}.values())[:MOST_ROWS]


def _bounded(row: Row) -> Row:
    value, kind, original = row
    if original and not kind.startswith(CLICK):
        original = storable(original)
    return storable(value), kind, original or None


def name_rows(name: str | None) -> list[Row]:
    """The rows for finding a person by name, including by its later parts."""
    shown = storable(" ".join((name or "").split())[:LONGEST_NAME])
    if not shown:
        return []
    whole = shown.lower() if shown.isascii() else storable(shown.casefold())
    rows: list[Row] = [(whole, "name", shown)]
    space = whole.find(" ")
    while space >= 0 and len(rows) < MOST_PARTS:
        rows.append((whole[space + 1 :], "part", None))
        space = whole.find(" ", space + 1)
    return rows


def click_rows(clicks: Iterable[tuple[str, str]]) -> list[Row]:
    """The rows of further click IDs (name, ID). An ID too long for an index is stored whole in the third column."""
    rows: list[Row] = []
    for name, value in clicks:
        short = storable(value)
        rows.append((short, f"{CLICK}{name}", None if short == value else value))
    return rows


def _said(who: Who, identifiers: Iterable[Identifier]) -> Iterator[Row]:
    originals = {"email": who.email, "phone": who.phone}
    for kind, value in identifiers:
        text = originals.get(kind)
        yield value, "reference" if kind == "id" and who.is_reference else kind, text if text != value else None
    if who.click_id:
        yield who.click_id, "click", None
    yield from click_rows(who.clicks.items())
    yield from name_rows(who.name)


def _known_of(person: Person) -> set[tuple[str, str]]:
    """What the search already finds through `person`. A new person's name has no row yet."""
    known = {(value, "click") for value in (person.click_first, person.click_last) if value}
    if person.name and not person.is_new:
        known |= {(value, kind) for value, kind, _ in name_rows(person.name)}
    known |= {row[:2] for row in click_rows(values_of(person.clicks))}
    if person.email:
        known.add((normal_email(person.email), "email"))
    known |= {(value, kind) for value, kind in ((person.phone, "phone"), (person.explicit_id, "id")) if value}
    return known


# --- facts of a purchase that is known and not counted yet, as its conversion keeps them --------------------------------


def kept_who(facts: dict[str, Any]) -> Who:
    """What a conversion's facts say about its person."""
    return Who(
        customer_id=facts.get("customer_id"),
        is_reference=bool(facts.get("is_reference")),
        click_id=facts.get("click_id"),
        email=facts.get("email"),
        name=facts.get("name"),
        phone=facts.get("phone"),
        aliases=tuple(facts.get("aliases", ())),
        clicks=facts.get("clicks", {}),
    )


def keep_who(facts: dict[str, Any], who: Who) -> bool:
    """Adds what `who` knows to a conversion's facts. Returns whether anything was new."""
    news: dict[str, Any] = {
        name: value for name in _FIELDS.values() if (value := getattr(who, name)) and not facts.get(name)
    }
    if who.customer_id and ("customer_id" in news or (facts.get("is_reference") and not who.is_reference)):
        news |= {"customer_id": who.customer_id, "is_reference": who.is_reference}
    if set(who.aliases) - set(facts.get("aliases", ())):
        news["aliases"] = list(dict.fromkeys((*facts.get("aliases", ()), *who.aliases)))
    if who.clicks.keys() - facts.get("clicks", {}).keys():
        news["clicks"] = {**who.clicks, **facts.get("clicks", {})}
    facts.update(news)
    return bool(news)
