"""What a dialect is: one wire format of the destination's family."""

from datetime import UTC, datetime
from typing import Any, Protocol

from app.model import Facts


class Dialect(Protocol):
    """Pure. `render` gives the JSON object to send; the path to send it to is /track/<kind> in every dialect so far."""

    @property
    def name(self) -> str: ...

    def render(self, facts: Facts) -> dict[str, Any]: ...

    def refusal(self, answer: bytes) -> str | None:
        """Why a 2xx answer nevertheless means that nothing was recorded; None where it means success."""


def iso_milliseconds(moment: datetime) -> str:
    """2026-04-10T12:34:56.000Z: UTC, milliseconds cut off and not rounded."""
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def without_blanks(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` less those that are None, "" or {}: a value that is not known is absent, never null."""
    return {name: value for name, value in fields.items() if value is not None and value != "" and value != {}}
