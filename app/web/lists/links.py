"""Links to the provider's own page for an ID."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.sources.base import Source
from app.sources.set_up import link_of


@dataclass(frozen=True, slots=True)
class Place:
    """words: as in "payment at Stripe"."""

    url: str
    words: str


def link_at(sources: Mapping[str, Source], source: str, identity: str | None, body: str | None = None) -> Place | None:
    """The page on which `source` shows the object with this ID (without its scope); None if no such page is known. body: of an
    event of the same purchase or person, to tell test data from live data."""
    known = sources.get(source)
    if known is None or not identity:
        return None
    link = link_of(known, identity, is_test=is_test(body))
    return Place(link.url, f"{link.what} at {known.title}") if link else None


def is_test(body: str | None) -> bool:
    """Whether a body is marked as test data, in Stripe's way."""
    try:
        content = json.loads(body or "")
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("livemode") is False
