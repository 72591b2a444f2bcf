"""The functions of a template's expressions, beside those of jmespath. What is not known stays unknown: of null each gives null."""

import base64
import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, TypeVar
from urllib.parse import quote

from jmespath.functions import Functions

from app.destinations.formats.draft import length, shortened
from app.money import decimals

NULL_AWARE = frozenset(
    {"not_null", "type", "to_array", "to_string", "omit", "token", "secret", "param", "status", "merge", "join"}
)
"""Functions that are called where an argument is null; others give null."""
GMAIL = ("gmail.com", "googlemail.com")
NAMESPACE = uuid.UUID("7c5f7a5e-8f0f-5d0c-9d0b-2f6f1f0c6f11")
"""Of UUIDs that are made of a text. It never changes, so that a repeat has the same one."""
MASK = "***"
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}
MOST_ARGUMENTS = {"sha256": 2, "unix": 2, "whole": 2, "omit": 2}
"""Of functions that take one or more."""
Function = TypeVar("Function", bound=Callable[..., Any])
TEXT: dict[str, Any] = {"types": ["string"]}
NUMBER: dict[str, Any] = {"types": ["number"]}


def is_nothing(value: Any) -> bool:
    """Whether it is null, false or empty. 0 is a number: what is left of a Sale that was refunded in full."""
    return value is None or value is False or value in ("", [], {})


@dataclass(slots=True)
class Context:
    """What functions know beside their arguments. secrets and parameters: by name; status: of an answer."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    is_masked: bool = False
    """The secrets are masks, of which nothing can be computed."""
    currency: str = ""
    status: int | None = None
    where: str = ""
    """The field that is rendered."""
    omitted: list[str] = field(default_factory=list)


def takes(*arguments: Mapping[str, Any]) -> Callable[[Function], Function]:
    """Notes what a function takes, for jmespath to check. (Its own decorator has no types.)"""

    def note(function: Function) -> Function:
        function.signature = arguments  # type: ignore[attr-defined]
        return function

    return note


def any_of(*types: str) -> dict[str, Any]:
    """The first argument of a function that may take more."""
    return {"types": list(types), "variadic": True}


class TemplateFunctions(Functions):  # type: ignore[misc] # jmespath has no types
    def __init__(self, context: Context) -> None:
        self._context = context

    def call_function(self, name: str, arguments: list[Any]) -> Any:
        if name not in NULL_AWARE and any(argument is None for argument in arguments):
            return None
        if name == "omit" and not arguments:  # jmespath wants one argument or more
            return None
        return super().call_function(name, arguments)

    @takes(TEXT)
    def _func_lower(self, text: str) -> str:
        return text.lower()

    @takes(TEXT)
    def _func_trim(self, text: str) -> str:
        return text.strip()

    @takes({"types": ["string", "number"]})
    def _func_digits(self, text: Any) -> str:
        return re.sub("[^0-9]", "", str(text))

    @takes(TEXT, NUMBER)
    def _func_cut(self, text: str, most: float) -> str:
        shorter = shortened(text, int(most))
        if shorter != text:
            self._context.omitted.append(f"{self._context.where} was shortened to {int(most)} characters")
        return shorter

    @takes(TEXT, NUMBER)
    def _func_within(self, text: str, most: float) -> str | None:
        if length(text) <= most:
            return text
        self._context.omitted.append(f"{self._context.where} was left out: it is longer than {int(most)} characters")
        return None

    @takes(TEXT, TEXT)
    def _func_matches(self, text: str, pattern: str) -> bool:
        return re.fullmatch(pattern, text) is not None

    @takes(TEXT)
    def _func_url(self, text: str) -> str:
        return MASK if self._context.is_masked and MASK in text else quote(text, safe="")

    @takes(TEXT)
    def _func_escape(self, text: str) -> str:
        """& < > as Slack and HTML want them."""
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    @takes(TEXT)
    def _func_gmail(self, email: str) -> str:
        """As Google compares addresses: of its own, without the dots before the @."""
        local, sign, domain = email.strip().lower().rpartition("@")
        return (local.replace(".", "") if domain in GMAIL else local) + sign + domain

    @takes(TEXT, {"types": ["array"]})
    def _func_join(self, separator: str, parts: list[Any]) -> str:
        return separator.join(text_of(part) for part in parts if part is not None)

    @takes(any_of("string"))
    def _func_sha256(self, text: str, encoding: str = "hex") -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return base64.b64encode(digest).decode() if _one_of(encoding, "hex", "base64") == "base64" else digest.hex()

    @takes(TEXT)
    def _func_base64(self, text: str) -> str:
        return MASK if self._context.is_masked else base64.b64encode(text.encode()).decode()

    @takes(TEXT)
    def _func_uuid5(self, text: str) -> str:
        return str(uuid.uuid5(NAMESPACE, text))

    @takes(any_of("string"))
    def _func_unix(self, moment: str, unit: str = "s") -> int:
        """Seconds since 1970, or with 'ms' or 'us' so many more."""
        parsed = datetime.fromisoformat(moment)
        per_second = UNITS[_one_of(unit, *UNITS)]
        return int(parsed.timestamp()) * per_second + parsed.microsecond * per_second // 1_000_000

    @takes(any_of("number"))
    def _func_whole(self, amount: float, places: int | None = None) -> int:
        """Units of the currency's smallest coin; with `places`, of so many decimals whatever the currency."""
        scale = decimals(self._context.currency) if places is None else int(places)
        return int(Decimal(str(amount)).scaleb(scale).to_integral_value(ROUND_HALF_EVEN))

    @takes(NUMBER)
    def _func_decimal(self, amount: float) -> str:
        """With all decimals of the currency: 199.00."""
        return f"{Decimal(str(amount)):.{decimals(self._context.currency)}f}"

    @takes({"types": [], "variadic": True})
    def _func_omit(self, *values: Any) -> Any:
        """Null where the value is false or empty, or equal to the second one."""
        value = values[0] if values else None
        is_left_out = is_nothing(value) or (len(values) > 1 and value == values[1])
        return None if is_left_out else value

    @takes()
    def _func_token(self) -> str | None:
        return self._context.secrets.get("token")

    @takes(TEXT)
    def _func_secret(self, name: str) -> str | None:
        return self._context.secrets.get(name)

    @takes(TEXT)
    def _func_param(self, name: str) -> str | None:
        return self._context.parameters.get(name) or None

    @takes()
    def _func_status(self) -> int | None:
        """The HTTP status of the answer."""
        return self._context.status


def text_of(value: Any) -> str:
    """A value as it stands in a text: true and 5, and not True and 5.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _one_of(value: Any, *known: str) -> str:
    if value not in known:
        raise ValueError(f"takes {' or '.join(repr(choice) for choice in known)}, not {value!r}")
    return str(value)
