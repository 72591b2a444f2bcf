"""Which fields of a body decide what: each is changed in turn, and the source's own code maps the body again.

So there is no second reading of any provider's fields. What a change of one field changes came from that field.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.errors import MalformedEvent
from app.intake.playground.leaves import GONE, Document, Leaf, Scalar, _Gone
from app.model import Inbound, Mapped, Rules
from app.sources.base import Source

MOST_PROBES = 2000
SECONDS = 2.0
"""Of computing for one body. The fields that look like a value of the result go first."""
CURRENCY = re.compile("[A-Za-z]{3}")
DATE = re.compile(r"(\d\d\d)(\d)(-\d\d-\d\d.*)", re.DOTALL)
FLAGS = {"true": "false", "false": "true", "yes": "no", "no": "yes"}
EMAIL = re.compile(r"\s*([^@\s<]+)@[^@\s]+")
PLAIN = re.compile(r"[^0-9a-z]+")
SHORTEST_HINT = 2


@dataclass(frozen=True, slots=True)
class Probe:
    """One changed field, and what the body means with it."""

    path: str
    old: str
    new: str
    """Both values as `plain` writes them; `new` is "" where the field was left out."""
    mapped: Mapped


@dataclass(frozen=True, slots=True)
class Probed:
    """What the changes of one body showed. tried of total: fields, unless time ran out."""

    base: Mapped
    probes: Sequence[Probe] = ()
    """Changes with which it is still a conversion, and another one."""
    deciding: Sequence[tuple[str, str]] = ()
    """Fields, with their values as `plain` writes them, that decide the outcome: another value changes it."""
    tried: int = 0
    total: int = 0


def probe(source: Source, inbound: Inbound, rules: Rules, mapped: Mapped, *, seconds: float = SECONDS) -> Probed:
    """mapped: what the body means. Raises MalformedEvent if it cannot be read."""
    until = time.thread_time() + seconds
    document = Document(inbound)
    start = document.base
    base = source.map(start, rules)
    leaves, _ = document.leaves()
    probes: list[Probe] = []
    deciding: list[tuple[str, str]] = []
    tried = 0
    for leaf in _likely_first(leaves, mapped):
        if tried == MOST_PROBES or time.thread_time() > until:
            break
        tried += 1
        tried_probe, decides = _try(source, document, leaf, rules, base)
        if tried_probe is not None:
            probes.append(tried_probe)
        if decides:
            deciding.append((leaf.path, plain(leaf.value)))
    return Probed(base, probes, deciding, tried, len(leaves))


def _try(source: Source, document: Document, leaf: Leaf, rules: Rules, base: Mapped) -> tuple[Probe | None, bool]:
    """The first change that leaves the outcome as it is, and whether an earlier one did not."""
    decides = False
    for value in others(leaf.value):
        try:
            mapped = source.map(document.with_value(leaf, value), rules)
        except MalformedEvent:
            mapped = None
        if mapped is not None and mapped.outcome == base.outcome:
            same = mapped == base
            new = "" if value is GONE else plain(value)
            return (None if same else Probe(leaf.path, plain(leaf.value), new, mapped)), decides
        decides = True
    return None, decides


def _likely_first(leaves: Sequence[Leaf], mapped: Mapped) -> list[Leaf]:
    """Sorts fields: first those whose text equals, or is part of, a value of the result; then the least deep ones."""
    known = [hint for hint in map(plain, _texts_of(asdict(mapped))) if len(hint) >= SHORTEST_HINT]
    whole = set(known)

    def order(leaf: Leaf) -> tuple[int, int]:
        text = plain(leaf.value)
        if text in whole:
            return 0, len(leaf.steps)
        is_part = (
            len(text) >= SHORTEST_HINT
            and len(text) <= 500
            and any(text in known_text or known_text in text for known_text in known)
        )
        return (1 if is_part else 2), len(leaf.steps)

    return sorted(leaves, key=order)


def others(value: Scalar) -> Iterator["Scalar | _Gone"]:
    """Values of the same shape, likely ones first: the other currency, the next number, the year before."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        yield value - 1
    elif isinstance(value, float):
        yield round(value + 1, 6)
        yield round(value - 1, 6)
    else:
        yield from _other_texts(value)
    yield GONE


def _other_texts(text: str) -> Iterator[str]:
    stripped = text.strip()
    if stripped.casefold() in FLAGS:
        yield FLAGS[stripped.casefold()]
        return
    if CURRENCY.fullmatch(stripped):
        other = "EUR" if stripped.upper() != "EUR" else "USD"
        yield other if stripped.isupper() else other.lower()
    if date := DATE.match(stripped):
        yield f"{date[1]}{(int(date[2]) - 1) % 10}{date[3]}"
        return
    if mail := EMAIL.match(text):
        changed = mail.end(1) - 1
        yield text[:changed] + _next(text[changed]) + text[changed + 1 :]
        return
    end = text.index("?") if "?" in text and "=" in text else len(text)  # a URL's parameters are fields of their own
    changed = next((index for index in range(end - 1, -1, -1) if text[index].isalnum()), -1)
    if changed >= 0:
        yield text[:changed] + _next(text[changed]) + text[changed + 1 :]
        yield text + "x"


def _next(letter: str) -> str:
    if letter.isascii() and letter.isdigit():
        return str(int(letter) - 1 if letter != "0" else 1)
    if letter.isascii() and letter.isalpha():
        return {"z": "y", "Z": "Y"}.get(letter) or chr(ord(letter) + 1)
    return "a" if letter != "a" else "b"


def plain(value: object) -> str:
    """Letters and digits alone, by which 4900, 49.00 and "49,00" are found in one another."""
    return PLAIN.sub("", str(value).casefold())


def _texts_of(value: Any) -> Iterator[str]:
    """All texts and numbers within a value."""
    if isinstance(value, dict):
        for below in value.values():
            yield from _texts_of(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _texts_of(below)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
