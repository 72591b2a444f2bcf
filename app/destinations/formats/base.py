"""What a dialect is: one wire format of the destination's family."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json, to_json

from app.model import Facts, Kind

FALSE = frozenset({"false", "error", "failed", "failure"})
"""What a `status` or `success` of a 2xx answer says, in lower case, where nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Body:
    """The JSON object to send, and one sentence for each optional field that was left out or shortened."""

    fields: dict[str, Any]
    omitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was recorded although the status says otherwise, or the reverse. is_transient: worth another attempt."""

    reason: str
    is_transient: bool = False


class Dialect(Protocol):
    """Pure. The path to send a body to is /track/<kind> in every dialect so far."""

    @property
    def name(self) -> str: ...

    def body(self, facts: Facts) -> Body: ...

    def problem(self, kind: Kind, fields: Mapping[str, Any]) -> str | None:
        """What is wrong with a body by this format's own rules; None where nothing is."""

    def refusal(self, status: int, answer: bytes) -> Refusal | None:
        """What this format's answer says beyond its status; None where the status says it all."""


@dataclass(slots=True)
class Draft:
    """A body under construction. Values that are not known are left out, never null or empty."""

    fields: dict[str, Any] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any) -> None:
        """As it is, unless it is unknown."""
        if value is not None and value != "" and value != {}:
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
        if text is not None and length(text) > most:
            self.omitted.append(f"{name} was left out: it is longer than {most} characters")
        else:
            self.put(name, text)

    def address(self, name: str, email: str | None, most: int, is_accepted: Any) -> None:
        """Left out where it is too long or where `is_accepted` (of the address) says no."""
        if email is not None and length(email) <= most and not is_accepted(email):
            self.omitted.append(f"{name} was left out: the destination does not accept an address of this form")
        else:
            self.within(name, email, most)

    def metadata(self, values: Mapping[str, Any], most: int) -> None:
        """Without its largest entries where it would be longer than `most` characters as JSON."""
        kept = dict(values)
        while kept and json_length(kept) > most:
            largest = max(kept, key=lambda key: json_length(kept[key]))
            del kept[largest]
            self.omitted.append(f"metadata.{shortened(largest, 100)} was left out: it is too long")
        self.put("metadata", kept)

    def done(self) -> Body:
        return Body(self.fields, tuple(self.omitted))


def length(text: str) -> int:
    """Characters as JavaScript counts them, which is how these services measure: those beyond U+FFFF are two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def shortened(text: str, most: int) -> str:
    """The beginning of `text` that is `most` characters long at most, as `length` counts."""
    cut = text[:most]
    while length(cut) > most:
        cut = cut[:-1]
    return text if cut == text else cut.rstrip()


def said_no(answer: bytes) -> Refusal | None:
    """A 2xx whose JSON says `success: false` or `status: false` recorded nothing, whatever its status is."""
    fields = json_object(answer)
    for name in ("success", "status"):
        value = fields.get(name)
        if value is False or (isinstance(value, str) and value.strip().lower() in FALSE):
            return Refusal(f"the destination answered with {name} {str(value).lower()}, so nothing was recorded")
    return None


def json_object(answer: bytes) -> dict[str, Any]:
    """The object in an answer's body; {} where there is none."""
    try:
        fields = from_json(answer)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def json_length(value: Any) -> int:
    """Of `value` as compact JSON, as `length` counts."""
    return length(to_json(value).decode())
