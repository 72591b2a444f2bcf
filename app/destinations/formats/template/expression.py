"""One jmespath expression (https://jmespath.org) of a template, compiled and checked once, at start."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath import exceptions

from app.destinations.formats.template.document import Shape
from app.destinations.formats.template.functions import MOST_ARGUMENTS, Context, TemplateFunctions, is_nothing

LONGEST = 4000
FAILURES = (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError, re.error)
UNKNOWN: Shape = ...
"""The shape of what is not known before there is a value."""
SECRETS = frozenset({"token", "secret"})
SINGLE_QUOTED = re.compile(r"'[^']*'|`[^`]*`")
QUOTED = re.compile(r"'[^']*'|`[^`]*`|\"[^\"]*\"")
BARE_NUMBER = re.compile(r"(?<![\w\[:-])(-?[0-9]+(?:\.[0-9]+)?)(?![\w\]:])")
QUOTED_FIELD = re.compile(r'"([A-Za-z_][A-Za-z0-9_]*)"(?!\s*:)')
"""A name in double quotes that needs none: who writes it means a text."""
EXPECTED = {
    "string": "text",
    "number": "a number",
    "array": "a list",
    "object": "an object",
    "boolean": "true or false",
}


class Wrong(ValueError):
    """What is wrong with an expression, and what to write instead. offset: where in its text, None for all of it."""

    def __init__(self, text: str, offset: int | None = None) -> None:
        super().__init__(text)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Names:
    """What an expression may name beside facts."""

    parameters: Collection[str] = ()
    secrets: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    parsed: Any
    is_constant: bool
    """It reads no fact."""
    is_secret: bool
    """It reads the token or another secret."""

    def search(self, document: Any, context: Context) -> Any:
        """What it is of `document`. Raises one of FAILURES where it cannot be computed."""
        options = jmespath.Options(custom_functions=TemplateFunctions(context))
        return self.parsed.search(document, options=options)

    def is_known(self, document: Any, context: Context) -> bool:
        """Whether it has a value, which may be 0."""
        try:
            return not is_nothing(self.search(document, context))
        except FAILURES:
            return False

    def is_true(self, document: Any, context: Context) -> bool:
        """Whether it is neither false, 0 nor empty; also not where it cannot be computed."""
        try:
            return self.search(document, context) not in (None, False, "", [], {})
        except FAILURES:
            return False


def compiled(text: str, shape: Shape, names: Names, example: Any = None) -> Expression:
    """`text` as an expression over what has `shape`. Raises Wrong. example: a value of which it must be computable."""
    if not text.strip():
        raise Wrong("is empty; a text stands in single quotes: ''")
    if len(text) > LONGEST:
        raise Wrong(f"is longer than {LONGEST} characters")
    try:
        parsed = jmespath.compile(text)
    except exceptions.LexerError as error:
        raise Wrong(_unreadable(text), error.lexer_position) from None
    except exceptions.ParseError as error:
        raise Wrong(_unreadable(text), min(error.lex_position, len(text))) from None
    except FAILURES:
        raise Wrong(_unreadable(text)) from None
    if field := QUOTED_FIELD.search(SINGLE_QUOTED.sub(lambda match: " " * len(match[0]), text)):
        raise Wrong(f"{field[0]} names a field; a text stands in single quotes: '{field[1]}'", field.start())
    _check(parsed.parsed, shape, text, names)
    nodes = list(_nodes(parsed.parsed))
    calls = {node["value"] for node in nodes if node["type"] == "function_expression"}
    reads = any(node["type"] in ("field", "current", "identity") for node in nodes)
    expression = Expression(text, parsed, not reads, bool(calls & SECRETS))
    if example is not None:
        _try(expression, example, names)
    return expression


def _unreadable(text: str) -> str:
    quoted = text.strip().strip("'\"")
    hint = "text stands in single quotes"
    if number := BARE_NUMBER.search(QUOTED.sub("", text)):
        hint = f"a number stands in backticks: `{number[1]}`"
    elif "'" not in text and "(" not in text:
        hint += f": '{quoted}'"
    elif text.count("'") % 2:
        hint = "a single quote is missing"
    elif text.count("(") != text.count(")"):
        hint = "a parenthesis is missing"
    return f"is not a jmespath expression: {hint}"


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("children", ()):
        if isinstance(child, dict):
            yield from _nodes(child)


def _check(node: Any, shape: Shape, text: str, names: Names) -> Shape:
    """The shape of what a parsed expression is of something of `shape`. Raises Wrong if it names what there never is."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        return _below(shape, node["value"], text)
    if kind in ("current", "identity"):
        return shape
    if kind == "literal":
        return UNKNOWN
    if kind in ("subexpression", "index_expression") and children[0]["type"] == "not_expression":
        raise Wrong(
            "! stands for the first name alone: put what it is of in parentheses, !(click.gclid)", text.find("!")
        )
    if kind in ("subexpression", "pipe", "index_expression"):
        for child in children:
            shape = _check(child, shape, text, names)
        return shape
    if kind == "index":
        return shape[0] if isinstance(shape, list) else UNKNOWN
    if kind in ("projection", "filter_projection"):
        items = _check(children[0], shape, text, names)
        element = items[0] if isinstance(items, list) else UNKNOWN
        for child in children[1:]:
            _check(child, element, text, names)
        return UNKNOWN
    if kind == "flatten":
        return _check(children[0], shape, text, names)
    if kind == "function_expression":
        _check_call(node, text, names)
    inner = UNKNOWN if kind in ("expref", "value_projection") else shape
    for child in children:
        if isinstance(child, dict):
            _check(child, inner, text, names)
    return UNKNOWN


def _below(shape: Shape, name: str, text: str) -> Shape:
    offset = _place(text, name)
    if name in ("true", "false", "null"):
        raise Wrong(f"{name} stands in backticks: `{name}`", offset)
    if shape is UNKNOWN:
        return UNKNOWN
    if isinstance(shape, list):
        raise Wrong(f"{name} is read of a list: write [].{name} for all of it, [0].{name} for the first", offset)
    if not isinstance(shape, Mapping):
        raise Wrong(f"{name} is read of a single value, which has nothing below it", offset)
    if name in shape:
        return shape[name]
    close = difflib.get_close_matches(name, list(shape), 1, 0.7)
    meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(shape)}"
    raise Wrong(f"there is no fact {name} here; {meant} (A text stands in single quotes: '{name}'.)", offset)


def _check_call(node: Mapping[str, Any], text: str, names: Names) -> None:
    name, count = node["value"], len(node["children"])
    offset = _place(text, name)
    table = TemplateFunctions.FUNCTION_TABLE
    if name not in table:
        close = difflib.get_close_matches(name, list(table), 1, 0.5)
        meant = f"did you mean {close[0]}()?" if close else f"there are {', '.join(sorted(table))}"
        raise Wrong(f"there is no function {name}(); {meant}", offset)
    takes = table[name]["signature"]
    least = len(takes)
    most = MOST_ARGUMENTS.get(name) or (None if takes and takes[-1].get("variadic") else least)
    if name == "omit":
        least = 0
    if count < least or (most is not None and count > most):
        expected = str(least) if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise Wrong(f"{name}() takes {expected} argument{'s' if expected != '1' else ''}, not {count}", offset)
    known = {"secret": names.secrets, "param": names.parameters}.get(name)
    if known is not None:
        child = node["children"][0]
        if child["type"] != "literal" or child["value"] not in known:
            listed = ", ".join(sorted(known)) or "none is configured"
            raise Wrong(f"{name}() takes a name in single quotes, of those that are configured: {listed}", offset)


def _place(text: str, name: str) -> int | None:
    """Where `name` stands in `text`, outside of quotes if it is there."""
    outside = re.sub(r"'[^']*'", lambda match: " " * len(match[0]), text)
    match = re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", outside)
    return match.start() if match else None


def _try(expression: Expression, example: Any, names: Names) -> None:
    """Raises Wrong if it fails for a conversion of which everything is known."""
    secrets = {"token": "-", **dict.fromkeys(names.secrets, "-")}
    context = Context(dict.fromkeys(names.parameters, "-"), secrets, currency="USD")
    try:
        expression.search(example, context)
    except exceptions.JMESPathTypeError as error:
        expected = " or ".join(EXPECTED.get(kind.partition("-")[0], kind) for kind in error.expected_types)
        actual = EXPECTED.get(error.actual_type, error.actual_type)
        offset = _place(expression.text, error.function_name)
        raise Wrong(f"{error.function_name}() takes {expected}, not {actual}", offset) from None
    except FAILURES as error:
        raise Wrong(f"cannot be computed: {error}") from None
