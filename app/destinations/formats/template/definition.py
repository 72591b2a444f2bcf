"""What a template says, compiled: each kind's request, and how answers are read. Every mistake is named with its place."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from app.destinations.formats.base import CLICKS, Age
from app.destinations.formats.template.document import BY_KIND, example_of, shape_of
from app.destinations.formats.template.expression import UNKNOWN, Expression, Names, compiled
from app.destinations.formats.template.nodes import (
    Compile,
    Fields,
    Leaf,
    Mistake,
    Node,
    Where,
    expression_of,
    leaves_of,
    node_of,
)

OF_KIND = ("method", "path", "headers", "body", "encoding", "needs", "checks")
OF_ANSWERS = ("accepts", "unattributed", "pauses", "retries")
OF_ALL = (*BY_KIND, "needs", *OF_ANSWERS, "max_age")
METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
BODILESS = ("GET", "DELETE")
ALL_FACTS = "@"
"""The body of a kind that has none of its own."""
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
PLAIN_PATH = re.compile(r"[\w-]+(?:/[\w.-]*)+")
AGE = re.compile(r"([0-9]{1,6}) ?(s|seconds?|m|minutes?|h|hours?|d|days?)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
Encoding = Literal["json", "form"]


@dataclass(frozen=True, slots=True)
class Check:
    """What must be true of a body, and what to say where it is not."""

    expression: Expression
    says: str


@dataclass(frozen=True)
class KindTemplate:
    """One kind's request. path: an expression, or a text that begins with a slash."""

    method: str
    path: Expression | str
    headers: Mapping[str, Expression]
    body: Node
    encoding: Encoding = "json"
    needs: tuple[Expression, ...] = ()
    checks: tuple[Check, ...] = ()

    @cached_property
    def places_token(self) -> bool:
        """Whether it says itself where the token goes."""
        paths = [self.path] if isinstance(self.path, Expression) else []
        places = [*paths, *self.headers.values(), *(leaf for _, leaf in leaves_of(self.body))]
        return any(place.is_secret for place in places) or any(name.lower() == "authorization" for name in self.headers)


@dataclass(frozen=True, slots=True)
class Definition:
    name: str = "template"
    kinds: Mapping[str, KindTemplate] = field(default_factory=dict)
    accepts: Expression | None = None
    unattributed: Expression | None = None
    pauses: Expression | None = None
    retries: Expression | None = None
    max_age: Age | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    event_names: Mapping[str, str] = field(default_factory=dict)
    """What events are called, unless the destination's table says otherwise."""


def define(
    raw: Mapping[str, Any],
    *,
    name: str = "template",
    parameters: Mapping[str, str] | None = None,
    secrets: Collection[str] = (),
    clicks: Collection[str] = CLICKS,
    event_names: Mapping[str, str] | None = None,
) -> tuple[Definition, list[Mistake]]:
    """The template of `raw` (of TOML, with the keys of OF_ALL alone), and what is wrong with it."""
    return _Reader(Names(parameters or {}, secrets), clicks).read(raw, name, parameters or {}, event_names or {})


class _Reader:
    def __init__(self, names: Names, clicks: Collection[str]) -> None:
        self.names = names
        self.clicks = clicks
        self.mistakes: list[Mistake] = []

    def read(
        self, raw: Mapping[str, Any], name: str, parameters: Mapping[str, str], event_names: Mapping[str, str]
    ) -> tuple[Definition, list[Mistake]]:
        common = raw.get("needs", [])
        kinds = {}
        for kind in BY_KIND:
            if kind in raw:
                definition_of_kind = self._kind(raw[kind], kind, common)
                if definition_of_kind is not None:
                    kinds[kind] = definition_of_kind
        if not any(kind in raw for kind in BY_KIND):
            self._wrong((), "has no request: write a table [destinations.NAME.sale] or [destinations.NAME.lead]")
        answers = {key: self._answer(raw[key], key) for key in OF_ANSWERS if key in raw}
        age = self._age(raw["max_age"]) if "max_age" in raw else None
        definition = Definition(name, kinds, max_age=age, parameters=parameters, event_names=event_names, **answers)
        return definition, self.mistakes

    def _wrong(self, where: Where, text: str) -> None:
        self.mistakes.append(Mistake(where, text))

    def _kind(self, raw: Any, kind: str, common: Any) -> KindTemplate | None:
        if not isinstance(raw, Mapping):
            self._wrong((kind,), "must be a table")
            return None
        for key in raw:
            if key not in OF_KIND:
                self._wrong((kind, key), f"is not known; known are {', '.join(OF_KIND)}")
        shape, example = shape_of(kind, self.clicks), example_of(kind, self.clicks)

        def compile_(text: str) -> Expression:
            return compiled(text, shape, self.names, example)

        method = raw.get("method", "POST")
        if not isinstance(method, str) or method.upper() not in METHODS:
            self._wrong((kind, "method"), f"must be one of {', '.join(METHODS)}")
            method = "POST"
        encoding = raw.get("encoding", "json")
        if encoding not in ("json", "form"):
            self._wrong((kind, "encoding"), "must be 'json' or 'form'")
        text = raw.get("body", {} if method in BODILESS else ALL_FACTS)
        body = node_of(text, (kind, "body"), compile_, self.mistakes)
        if not isinstance(body, Fields | Leaf):
            self._wrong((kind, "body"), "must be a table, or an expression whose value is an object")
        needs = self._needs(common, ("needs",), compile_)
        needs += self._needs(raw.get("needs", []), (kind, "needs"), compile_)
        return KindTemplate(
            method.upper(),
            self._path(raw.get("path", ""), kind, compile_),
            self._headers(raw.get("headers", {}), kind, compile_),
            body,
            encoding,
            tuple(needs),
            self._checks(raw.get("checks", {}), kind),
        )

    def _path(self, raw: Any, kind: str, compile_: Compile) -> Expression | str:
        where: Where = (kind, "path")
        if isinstance(raw, str) and (raw == "" or raw.startswith("/")):
            if any(character.isspace() or character in "{}\\\"'`" for character in raw):
                joined = "join('', ['/users/', url(customer_id)])"
                self._wrong(
                    where, f"is a text, since it begins with /; with facts in it, write an expression: {joined}"
                )
            return raw
        if isinstance(raw, str) and PLAIN_PATH.fullmatch(raw):
            self._wrong(where, f"begins with a slash: /{raw}")
            return ""
        expression = expression_of(raw, where, compile_, self.mistakes)
        if expression is None:
            return ""
        self._check_secret(expression, where)
        return expression

    def _headers(self, raw: Any, kind: str, compile_: Compile) -> dict[str, Expression]:
        if not isinstance(raw, Mapping):
            self._wrong((kind, "headers"), 'must be a table, such as {X-Source = "source"}')
            return {}
        headers = {}
        for name, text in raw.items():
            where: Where = (kind, "headers", name)
            if not HEADER_NAME.fullmatch(name):
                self._wrong(where, "is not the name of a header")
            compiled = expression_of(text, where, compile_, self.mistakes)
            if compiled is not None:
                self._check_secret(compiled, where)
                headers[name] = compiled
        return headers

    def _check_secret(self, expression: Expression, where: Where) -> None:
        if expression.is_secret and not expression.is_constant:
            self._wrong(where, "uses a secret together with facts: put the secret into a header or field of its own")

    def _needs(self, raw: Any, where: Where, compile_: Compile) -> list[Expression]:
        """One expression, or a list of them."""
        texts = raw if isinstance(raw, list) else [raw]
        needs = []
        for index, text in enumerate(texts):
            place = (*where, index) if isinstance(raw, list) else where
            mistakes: list[Mistake] = []
            compiled = expression_of(text, place, compile_, mistakes)
            if compiled is not None:
                needs.append(compiled)
            self.mistakes += [mistake for mistake in mistakes if mistake not in self.mistakes]
        return needs

    def _checks(self, raw: Any, kind: str) -> tuple[Check, ...]:
        """{"what to say" = "expression over the body"}"""
        if not isinstance(raw, Mapping):
            self._wrong((kind, "checks"), "must be a table")
            return ()
        checks = []
        for says, text in raw.items():
            compiled = expression_of(text, (kind, "checks", says), self._over_anything, self.mistakes)
            if compiled is not None:
                checks.append(Check(compiled, says))
        return tuple(checks)

    def _over_anything(self, text: str) -> Expression:
        return compiled(text, UNKNOWN, self.names)

    def _answer(self, raw: Any, key: str) -> Expression | None:
        return expression_of(raw, (key,), self._over_anything, self.mistakes)

    def _age(self, raw: Any) -> Age | None:
        match = AGE.fullmatch(raw.strip().lower()) if isinstance(raw, str) else None
        if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0:
            unit = next(letter for letter in ("d", "h", "m", "s") if raw % SECONDS[letter] == 0)
            number = raw // SECONDS[unit]
        elif match and int(match[1]) > 0:
            number, unit = int(match[1]), match[2][0]
        else:
            self._wrong(("max_age",), 'must be an age such as "7 days" or "72 hours"')
            return None
        return Age(number * SECONDS[unit], f"{number} {UNITS[unit]}{'' if number == 1 else 's'}")
