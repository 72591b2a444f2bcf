"""Tolerant reading of Stripe's objects: a field of the wrong type is a field that is missing, never an exception.

Accessors on plain dicts instead of pydantic models (style.md): bodies are some 5 kB, of which a dozen fields are read;
building models costs several times the mapping itself, and this runs inside the web's answer.
"""

from datetime import datetime
from typing import Any

from app.money import LARGEST_MINOR
from app.sources.parse import LONGEST_ID, from_unix

JsonObject = dict[str, Any]

MOST_ITEMS = 100
"""Of a list inside an object; Stripe itself puts at most ten invoice lines into an event."""


def object_of(value: object) -> JsonObject:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[JsonObject]:
    """The objects of a Stripe list ({"object": "list", "data": […]}) or of a plain array."""
    if isinstance(value, dict):
        value = value.get("data")
    if not isinstance(value, list):
        return []
    return [item for item in value[:MOST_ITEMS] if isinstance(item, dict)]


def id_of(value: object) -> str | None:
    """The id in an expandable field: a string, or the id of the object that stands in its place."""
    if value is None:
        return None
    if isinstance(value, dict):
        value = value.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        return None
    return value if value.isascii() and value.isprintable() and " " not in value else None


def integer_of(value: object) -> int | None:
    """A whole number of a sensible size; None for everything else, true and 5.0 and "5" included."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_MINOR:
        return None
    return value


def moment_of(value: object) -> datetime | None:
    """Unix seconds to an aware UTC time."""
    return from_unix(integer_of(value))


def word_of(value: object) -> str | None:
    """One of Stripe's enumerated words ("paid"), if it is text."""
    return value if isinstance(value, str) and value else None


FIRST = ":first"
INVOICE = "in_"


def first_key(subscription: str) -> str:
    """Names the first invoice of a subscription, which sessions of API 2020-08 know by their subscription alone. A loose key:
    should a subscription ever have two invoices that call themselves its first, each is a purchase."""
    return subscription + FIRST
