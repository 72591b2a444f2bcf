"""The wire formats, by name (DESTINATION_FORMAT)."""

from typing import Literal

from app.destinations.formats.base import Body, Dialect, Refusal
from app.destinations.formats.dub import Dub
from app.destinations.formats.events import Events
from app.destinations.formats.track import Track

DIALECTS = ("events", "track", "dub")


def dialect_of(name: str, amount_unit: Literal["major", "minor"] = "major") -> Dialect:
    """The dialect called `name`. Raises KeyError for any other."""
    dialects: dict[str, Dialect] = {"events": Events(), "track": Track(amount_unit), "dub": Dub()}
    return dialects[name]


__all__ = ["DIALECTS", "Body", "Dialect", "Refusal", "dialect_of"]
