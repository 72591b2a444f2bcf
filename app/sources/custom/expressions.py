"""jmespath expressions of bridge.toml (https://jmespath.org): compiled and checked once, at start.

They select and fall back, but cannot loop, run code or reach anything outside the body.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jmespath
from jmespath.functions import Functions

from app.errors import ConfigurationError

LONGEST_EXPRESSION = 500


def expression(text: str, location: str) -> Callable[[Any], Any]:
    """What `text` finds in a body; None if it finds nothing, or cannot be computed for that body. Raises ConfigurationError
    that begins with `at`."""
    if len(text) > LONGEST_EXPRESSION:
        raise ConfigurationError(f"{location}: the expression is longer than {LONGEST_EXPRESSION} characters")
    try:
        compiled = jmespath.compile(text.strip())
        misused = _wrong_call(compiled.parsed)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ConfigurationError(f"{location}: is not a jmespath expression: {_complaint(error, text)}") from None
    if misused:
        raise ConfigurationError(f"{location}: is not a jmespath expression: {misused}: {text.strip()}")

    def search(body: Any) -> Any:
        try:
            return compiled.search(body)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError):
            return None  # a body of another shape: the same as not finding anything

    return search


def _complaint(error: Exception, text: str) -> str:
    """What jmespath says in its first line, and the expression, which it says in others."""
    complaint = (str(error).splitlines() or [""])[0].removeprefix("Invalid jmespath expression: ").rstrip(": ")
    return f"{complaint or 'it cannot be read'}: {text.strip()}"


def _wrong_call(node: Mapping[str, Any]) -> str | None:
    """What is wrong with the functions that a parsed expression calls: jmespath itself tells only when they run."""
    if node["type"] == "function_expression":
        known = Functions.FUNCTION_TABLE.get(node["value"])
        if known is None:
            return f"there is no function {node['value']}()"
        takes, count = known["signature"], len(node["children"])
        is_variadic = any(argument.get("variadic") for argument in takes)
        if count < len(takes) or (count > len(takes) and not is_variadic):
            return f"{node['value']}() takes {len(takes)}{' or more' if is_variadic else ''} arguments, not {count}"
    below = (_wrong_call(child) for child in node["children"] if isinstance(child, Mapping))
    return next((mistake for mistake in below if mistake), None)
