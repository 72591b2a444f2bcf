"""Building a body within the limits of a destination, and saying what was left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from app.destinations.formats.base import Body
from app.model import Facts


@dataclass(slots=True)
class Draft:
    """A body under construction. Values that are not known are left out, never null or empty."""

    fields: dict[str, Any] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any) -> None:
        """As it is, unless it is unknown."""
        if value or (value is not None and value != "" and value != {}):
            self.fields[name] = value

    def cut(self, name: str, text: str | None, most: int) -> None:
        """Shortened to `most` characters."""
        if text is None or not (text := text.strip()):
            return
        shorter = shortened(text, most)
        if shorter != text:
            self.omitted.append(f"{name} was shortened to {most} characters")
        self.put(name, shorter)

    def within(self, name: str, text: str | None, most: int) -> None:
        """Left out where it is longer than `most` characters: an id or an address that is cut is another one."""
        if not text:
            return
        if is_longer(text, most):
            self.omitted.append(f"{name} was left out: it is longer than {most} characters")
        else:
            self.fields[name] = text

    def address(self, name: str, email: str | None, most: int, is_accepted: Callable[[str], bool]) -> None:
        """Left out where it is too long or where `is_accepted` (of the address) says no."""
        if email is not None and not is_longer(email, most) and not is_accepted(email):
            self.omitted.append(f"{name} was left out: the destination does not accept an address of this form")
        else:
            self.within(name, email, most)

    def metadata(self, values: Mapping[str, Any], most: int) -> None:
        """Without its largest entries where it would be longer than `most` characters as JSON."""
        if not values:
            return
        kept = dict(values)
        while kept and json_length(kept) > most:
            largest = max(kept, key=lambda key: json_length(kept[key]))
            del kept[largest]
            self.omitted.append(f"metadata.{shortened(largest, 100)} was left out: it is too long")
        self.put("metadata", kept)

    def done(self) -> Body:
        return Body(self.fields, tuple(self.omitted))


def event_name(facts: Facts, names: Mapping[str, str]) -> str:
    """What a conversion's event is called. Its own name where `names` has none, or needs a form that is not known."""
    conversion = facts.lead or facts.sale
    assert conversion is not None
    name = names.get(conversion.event_name, "")
    form = str(conversion.metadata.get("form") or "").strip()
    if not name or ("{form}" in name and not form):
        return conversion.event_name
    return name.replace("{form}", form)


def length(text: str) -> int:
    """Characters as JavaScript counts them, which is how these services measure: those beyond U+FFFF are two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_longer(text: str, most: int) -> bool:
    """Whether `text` is longer than `most` characters, as `length` counts. Most texts are so short that none are counted."""
    return len(text) * 2 > most and length(text) > most


def shortened(text: str, most: int) -> str:
    """The beginning of `text` that is `most` characters long at most, as `length` counts."""
    if not is_longer(text, most):
        return text
    cut = text[:most]
    while cut and length(cut) > most:
        cut = cut[:-1]
    return cut.rstrip()


def json_length(value: Any) -> int:
    """Of `value` as compact JSON, as `length` counts."""
    return length(to_json(value).decode())
