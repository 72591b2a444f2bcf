"""The further click IDs of a person: by name, the first and the last, each with the time it was seen. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class Seen(NamedTuple):
    """A click id, and the time (ms) of the event that brought it."""

    value: str
    at: int


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last id of one name, by the time of their events: those need not arrive in order."""

    first: Seen
    last: Seen

    def with_seen(self, seen: Seen) -> "Span":
        """`bag` with one more click ID, or `bag` itself if it adds nothing. An ID keeps the time it was first seen."""
        span = self
        if seen.at < span.first.at and seen.value != span.first.value:
            span = replace(span, first=seen)
        if seen.at >= span.last.at and seen.value != span.last.value:
            span = replace(span, last=seen)
        return span


Bag = Mapping[str, Span]
EMPTY: Bag = {}


def learned(bag: Bag, stated: Mapping[str, str], moment: int) -> Bag:
    """`bag` with the click IDs of an event at `moment` (ms), or `bag` itself if they add nothing."""
    news = {}
    for name, value in stated.items():
        seen, known = Seen(value, moment), bag.get(name)
        span = Span(seen, seen) if known is None else known.with_seen(seen)
        if span != known:
            news[name] = span
    return {**bag, **news} if news else bag


def merged(bag: Bag, other: Bag) -> Bag:
    """The click IDs of two persons who turn out to be one."""
    both = dict(bag)
    for name, span in other.items():
        known = both.get(name)
        both[name] = span if known is None else known.with_seen(span.first).with_seen(span.last)
    return both


def chosen(bag: Bag, *, first_touch: bool) -> dict[str, Seen]:
    """By name, the click ID that counts at a destination with that touch."""
    return {name: span.first if first_touch else span.last for name, span in bag.items()}


def with_fbc(clicks: Mapping[str, Seen]) -> dict[str, Seen]:
    """Adds Meta's fbc if none was sent, made of fbclid and the time it was seen.
    https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/fbp-and-fbc"""
    completed = dict(clicks)
    if (clicked := completed.get("fbclid")) and "fbc" not in completed:
        completed["fbc"] = Seen(f"fb.1.{clicked.at}.{clicked.value}", clicked.at)
    return completed


def values_of(bag: Bag) -> set[tuple[str, str]]:
    """All (name, id) in it."""
    return {(name, seen.value) for name, span in bag.items() for seen in (span.first, span.last)}


def to_text(bag: Bag) -> str | None:
    """As it is kept: JSON, {"gclid": ["first", ms, "last", ms]}. None where it is empty."""
    return json.dumps({name: [*span.first, *span.last] for name, span in bag.items()}) if bag else None


def from_text(text: str | None) -> Bag:
    """Reads the result of `to_text`."""
    if text is None:
        return EMPTY
    return {name: Span(Seen(*kept[:2]), Seen(*kept[2:])) for name, kept in json.loads(text).items()}
