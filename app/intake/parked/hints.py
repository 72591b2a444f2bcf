"""What a missing value was looked for under, and what in the body may be it. Pure."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import MalformedEvent
from app.model import Inbound, Rules
from app.money import currency_code, from_major
from app.persons import normal_phone
from app.sources.base import Source
from app.sources.bodies import json_in, read_body
from app.sources.field_names import plain_name
from app.sources.parse import email_of, identifier_of, parse_json, text_of

DEEPEST, MOST_VALUES, MOST_SIMILAR, LONGEST_SHOWN = 8, 2000, 3, 80
LIKE = 0.8
"""How alike two names must be, of 1."""
OF_A_PERSON = ("email", "customer_id", "phone")
USUAL = {
    "amount": ("amount", "total", "price", "paid", "gross", "sum", "betrag", "montant", "importe"),
    "currency": ("currency", "curr", "ccy", "devise", "moneda", "waehrung", "währung", "valuta"),
    "id": ("id", "number", "reference", "uuid", "token"),
    "email": ("email", "mail", "correo"),
    "customer_id": ("customerid", "userid", "accountid", "memberid", "externalid"),
    "phone": ("phone", "tel", "mobile", "telefon"),
    "click_id": ("clickid", "click", "dubid"),
}
"""Parts of the names under which senders usually have these values."""


@dataclass(frozen=True, slots=True)
class Similar:
    """A value of the body. usable: it can be read as what is missing."""

    path: str
    value: str
    usable: bool


@dataclass(frozen=True, slots=True)
class Lack:
    """A missing value: the fields it was looked for in, and what in the body may be it. line: what makes bridge.toml read it."""

    field: str
    looked_for: Sequence[str]
    similar: Sequence[Similar]
    line: str = ""


def explain_lacks(
    lacks: Sequence[str], source: Source | None, inbound: Inbound | None, rules: Rules, *, is_own: bool
) -> list[Lack]:
    """is_own: the source is one of bridge.toml, where a line can be added."""
    fields = [name for lack in lacks for name in (OF_A_PERSON if lack == "person" else (lack,))]
    values = list(_values(inbound)) if inbound is not None and fields else []
    explained = []
    for field in dict.fromkeys(fields):
        raw = list(source.looked_for.get(field, ())) if source is not None else []
        if not raw and field == "customer_id":
            raw = list(rules.customer_id_names)
        if not raw and field == "click_id":
            raw = list(rules.click_id_names)
        similar = _similar(field, raw, values, rules)
        best = next((candidate for candidate in similar if candidate.usable), None)
        line = ""
        if is_own and best is not None and field != "id" and best.path not in raw:
            texts = [*(source.looked_for.get(field, ()) if source is not None else ()), best.path]
            line = f"{field} = [{', '.join(_quoted(text) for text in texts)}]"
        explained.append(Lack(field, [sought.removeprefix("=").strip() for sought in raw], similar, line))
    return explained


def _similar(field: str, looked_for: Sequence[str], values: Sequence[tuple[str, Any]], rules: Rules) -> list[Similar]:
    names = {plain_name(path_or_name.rpartition(".")[2]) for path_or_name in looked_for} - {""}
    ranked = []
    for order, (path, value) in enumerate(values):
        text = text_of(value)
        if text is None:
            continue
        usable = _is_usable(field, value, rules)
        closeness = _closeness(field, plain_name(path.rpartition(".")[2].partition("[")[0]), names)
        if closeness or (field == "email" and usable):
            shown = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"
            ranked.append(((not usable, -closeness, order), Similar(path, shown, usable)))
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])][:MOST_SIMILAR]


def _closeness(field: str, name: str, names: set[str]) -> int:
    """3: one of `names`. 2: it contains one of them, or is contained in one. 1: it looks like a usual name. 0: none of these."""
    if not name:
        return 0
    if name in names:
        return 3
    if any(len(other) > 2 and (other in name or (name in other and len(name) > 2)) for other in names):
        return 2
    if any(difflib.SequenceMatcher(None, other, name).ratio() >= LIKE for other in names):
        return 2
    usual = USUAL.get(field, ())
    return int(any(name.endswith(other) if len(other) < 3 else other in name for other in usual))


def _is_usable(field: str, value: Any, rules: Rules) -> bool:
    if field == "currency":
        return currency_code(value) is not None
    if field == "email":
        return email_of(value) is not None
    if field == "phone":
        return isinstance(value, str) and normal_phone(value, rules.phone_region) is not None
    if field == "amount":
        try:
            return from_major(value.strip() if isinstance(value, str) else value, "KWD").minor > 0
        except ValueError:
            return False
    return identifier_of(value) is not None


def _values(inbound: Inbound) -> Iterator[tuple[str, Any]]:
    """The values of a body with their paths, including JSON inside text; nothing if the body cannot be read."""
    try:
        raw = read_body(inbound)
    except MalformedEvent:
        try:
            raw = {"": parse_json(inbound.body)}
        except MalformedEvent:
            return
    for number, pair in enumerate(_walk(raw, "", 0)):
        if number >= MOST_VALUES:
            return
        yield pair


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value[:1] in ("{", "["):
        value = json_in(value) or value
    if isinstance(value, dict) and depth < DEEPEST:
        for key, below in value.items():
            name = str(key)
            yield from _walk(below, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list) and depth < DEEPEST:
        for number, below in enumerate(value):
            yield from _walk(below, f"{path}[{number}]", depth + 1)
    elif not isinstance(value, dict | list):
        yield path, value


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
