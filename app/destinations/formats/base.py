"""What a dialect is: one wire format of the destination's family."""

from typing import Any, Protocol

from app.model import Facts


class Dialect(Protocol):
    """Pure. `render` gives the JSON object to send; the path to send it to is /track/<kind> in every dialect so far."""

    @property
    def name(self) -> str: ...

    def render(self, facts: Facts) -> dict[str, Any]: ...

    def refusal(self, answer: bytes) -> str | None:
        """Why a 2xx answer nevertheless means that nothing was recorded; None where it means success."""


def without_blanks(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` less those that are None, "" or {}: a value that is not known is absent, never null."""
    return {name: value for name, value in fields.items() if value is not None and value != "" and value != {}}
