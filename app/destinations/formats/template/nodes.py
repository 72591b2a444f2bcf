"""The body of a template: objects and lists as TOML writes them, whose texts are expressions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.destinations.formats.template.expression import FAILURES, Expression, Wrong
from app.destinations.formats.template.functions import Context

Where = tuple[str | int, ...]
Compile = Callable[[str], Expression]
SECRET = "$secret"  # noqa: S105
"""Key of the object that stands in a kept payload for a secret: the secret itself is put in at each attempt."""
IDENTIFYING = ("key", "sale.invoice_id", "lead.id", "refund.id")
"""Facts by which a conversion is counted once: what is made of them cannot be edited."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """where: keys below the destination's table. offset: in the text that stands there."""

    where: Where
    text: str
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    expression: Expression

    def value(self, document: Any, context: Context, where: str) -> Any:
        if self.expression.is_secret:
            return {SECRET: self.expression.text}
        context.where = where
        try:
            return self.expression.search(document, context)
        except FAILURES as error:
            context.omitted.append(f"{where} was left out: {error}")
            return None


@dataclass(frozen=True, slots=True)
class Plain:
    literal: Any

    def value(self, document: Any, context: Context, where: str) -> Any:
        return self.literal


@dataclass(frozen=True, slots=True)
class Fields:
    """An object. What is not known of it is left out, and so is what holds nothing then."""

    nodes: Mapping[str, "Node"]

    def value(self, document: Any, context: Context, where: str) -> Any:
        fields = {
            name: known(node.value(document, context, f"{where}.{name}" if where else name))
            for name, node in self.nodes.items()
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Items:
    """A list, the same way."""

    nodes: tuple["Node", ...]

    def value(self, document: Any, context: Context, where: str) -> Any:
        items = [known(node.value(document, context, f"{where}[{index}]")) for index, node in enumerate(self.nodes)]
        return [value for value in items if value is not None]


Node = Leaf | Plain | Fields | Items


def known(value: Any) -> Any:
    """None for what is empty, at any depth: what is not known is absent, never null or ""."""
    if isinstance(value, dict):
        value = {name: inner for name, part in value.items() if (inner := known(part)) is not None}
    elif isinstance(value, list):
        value = [inner for part in value if (inner := known(part)) is not None]
    return None if value is None or value in ("", [], {}) else value


def node_of(raw: Any, where: Where, compile_: Compile, mistakes: list[Mistake]) -> Node:
    """`raw`, of TOML, as a node. What is wrong with it goes to `mistakes`."""
    if isinstance(raw, Mapping):
        return Fields({name: node_of(value, (*where, name), compile_, mistakes) for name, value in raw.items()})
    if isinstance(raw, list):
        return Items(tuple(node_of(value, (*where, i), compile_, mistakes) for i, value in enumerate(raw)))
    if isinstance(raw, str):
        expression = expression_of(raw, where, compile_, mistakes)
        if expression is None:
            return Plain(None)
        if expression.is_secret and not expression.is_constant:
            mistakes.append(Mistake(where, "uses a secret together with facts: give the secret a field of its own"))
        return Leaf(expression)
    if not isinstance(raw, bool | int | float):
        mistakes.append(Mistake(where, "must be an expression in quotes, a number, true or false, a table or a list"))
    return Plain(raw)


def expression_of(raw: Any, where: Where, compile_: Compile, mistakes: list[Mistake]) -> Expression | None:
    """`raw` as an expression; None if it is wrong, which goes to `mistakes`."""
    if not isinstance(raw, str):
        mistakes.append(Mistake(where, "must be an expression in quotes"))
        return None
    try:
        return compile_(raw)
    except Wrong as error:
        mistakes.append(Mistake(where, str(error), error.offset))
        return None


def leaves_of(node: Node, where: Where = ()) -> Iterator[tuple[Where, Expression]]:
    """Every expression of a body, with its place."""
    if isinstance(node, Leaf):
        yield where, node.expression
    elif isinstance(node, Fields):
        for name, inner in node.nodes.items():
            yield from leaves_of(inner, (*where, name))
    elif isinstance(node, Items):
        for index, inner in enumerate(node.nodes):
            yield from leaves_of(inner, (*where, index))


def at(value: Any, where: Where) -> Any:
    """What stands there; None if nothing does."""
    for key in where:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def stray(value: Any, node: Node, where: str = "") -> str | None:
    """The first field of an edited body that its template does not have, or that is null; None if all is as it may be."""
    if value is None:
        return f"{where} must not be null: leave it out"
    if isinstance(node, Fields):
        if not isinstance(value, dict):
            return f"{where or 'the body'} must be an object"
        for name, inner in value.items():
            below = f"{where}.{name}" if where else name
            if name not in node.nodes:
                return f"{below} is not a field of this template; its fields are {', '.join(node.nodes)}"
            if place := stray(inner, node.nodes[name], below):
                return place
    elif isinstance(node, Items):
        if not isinstance(value, list):
            return f"{where} must be a list"
        if node.nodes:
            strays = (
                stray(part, node.nodes[min(i, len(node.nodes) - 1)], f"{where}[{i}]") for i, part in enumerate(value)
            )
            return next((part for part in strays if part), None)
    return None
