"""The wire formats, by name (DESTINATION_FORMAT)."""

from typing import Literal

from app.dialects.base import Dialect
from app.dialects.dub import Dub
from app.dialects.events import Events
from app.dialects.track import Track

DIALECTS = ("events", "track", "dub")


def dialect_of(name: str, amount_unit: Literal["major", "minor"] = "major") -> Dialect:
    """The dialect called `name`. Raises KeyError for any other."""
    dialects: dict[str, Dialect] = {"events": Events(), "track": Track(amount_unit), "dub": Dub()}
    return dialects[name]


__all__ = ["DIALECTS", "Dialect", "dialect_of"]
