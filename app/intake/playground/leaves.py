"""The values in a request, each with its path, and the same request with one of them replaced.

A path is written as jmespath writes it (order.lines[0]."unit price"), so that a mapping can use it after a =.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic_core import to_json

from app.errors import MalformedEvent
from app.model import Inbound
from app.sources.bodies import form_pairs, multipart_pairs
from app.sources.parse import parse_json

MOST_LEAVES = 20_000
MOST_PARAMETERS = 50
LONGEST_URL = 4000
LONGEST_PATH = 300
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
UNTRIED_HEADERS = frozenset(
    ["content-type", "content-length", "content-encoding", "transfer-encoding", "host", "connection", "user-agent"]
)
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class _Gone:
    """Instead of a value: the field is left out."""


class _Inside:
    """A step into the JSON that a text holds."""


GONE: Final = _Gone()
INSIDE: Final = _Inside()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A step to a query parameter of a URL."""

    name: str


Step = str | int | _Inside | Parameter
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a request. path: for people."""

    path: str
    value: Scalar
    steps: tuple[Step, ...]
    header: str = ""
    """The header that this is; "" for a field of the body."""


class Document:
    """A request, taken apart. Raises MalformedEvent if its body cannot be read at all."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._kind = inbound.content_type.partition(";")[0].strip().casefold()
        looks_like_json = inbound.body.lstrip()[:1] in (b"{", b"[", b'"')
        if self._kind == MULTIPART:
            self._root: Any = [list(pair) for pair in multipart_pairs(inbound.body, inbound.content_type)]
        elif self._kind == FORM and not looks_like_json:
            self._root = [list(pair) for pair in form_pairs(inbound.body)]
        else:
            self._kind, self._root = "", parse_json(inbound.body)

    @property
    def base(self) -> Inbound:
        """The request as this document writes it: the same values, perhaps in other bytes."""
        return replace(self._inbound, body=self._written(self._root))

    def leaves(self) -> tuple[list[Leaf], bool]:
        """The first MOST_LEAVES values, those of headers last, and whether those are all."""
        first: list[Leaf] = []
        walk = self._form_leaves() if self._kind else _leaves(self._root, "", ())
        for leaf in walk:
            if len(first) == MOST_LEAVES:
                return first, False
            first.append(leaf)
        for name, value in self._inbound.headers.items():
            if name not in UNTRIED_HEADERS and value:
                first.append(Leaf(f"header {name}", value, (), name))
        return first, True

    def with_value(self, leaf: Leaf, value: "Scalar | _Gone") -> Inbound:
        """The request with another value in that place, or without the field."""
        if leaf.header:
            headers = {name: text for name, text in self._inbound.headers.items() if name != leaf.header}
            if not isinstance(value, _Gone):
                headers[leaf.header] = str(value)
            return replace(self._inbound, headers=headers, body=self._written(self._root))
        return replace(self._inbound, body=self._written(_replaced(self._root, leaf.steps, value)))

    def _form_leaves(self) -> Iterator[Leaf]:
        for index, (name, value) in enumerate(self._root):
            yield from _leaves(value, name, (index, 1))

    def _written(self, root: Any) -> bytes:
        if self._kind == FORM:
            return urlencode([(pair[0], pair[1]) for pair in root if len(pair) == 2]).encode()
        if self._kind == MULTIPART:
            return self._multipart(root)
        return to_json(root)

    def _multipart(self, root: Any) -> bytes:
        boundary = re.search(r'boundary="?([^";]+)', self._inbound.content_type)
        line = b"--" + (boundary[1] if boundary else "").encode()
        parts = [
            line
            + b'\r\nContent-Disposition: form-data; name="%s"\r\n\r\n' % name.replace('"', "%22").encode()
            + value.encode()
            for name, value in (pair for pair in root if len(pair) == 2)
        ]
        return b"\r\n".join([*parts, line + b"--\r\n"])


def _leaves(value: Any, path: str, steps: tuple[Step, ...]) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, _joined(path, key), (*steps, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _leaves(below, f"{path}[{index}]", (*steps, index))
    elif isinstance(value, str):
        yield from _text_leaves(value, path, steps)
    elif isinstance(value, bool | int | float):
        yield Leaf(path[:LONGEST_PATH], value, steps)


def _text_leaves(text: str, path: str, steps: tuple[Step, ...]) -> Iterator[Leaf]:
    if not text.strip():
        return
    if text.lstrip()[:1] in ("{", "[") and INSIDE not in steps and (inner := _json_in(text)):
        yield from _leaves(inner, path, (*steps, INSIDE))
        return
    if "?" in text and "=" in text and len(text) <= LONGEST_URL:
        for name, value in _parameters(text):
            yield Leaf(f"{path} ?{name}"[:LONGEST_PATH], value, (*steps, Parameter(name)))
    yield Leaf(path[:LONGEST_PATH], text, steps)


def _joined(path: str, key: str) -> str:
    step = key if PLAIN.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{path}.{step}" if path else step


def _json_in(text: str) -> Any:
    try:
        parsed = parse_json(text.encode("utf-8", "replace"))
    except MalformedEvent:
        return None
    return parsed if isinstance(parsed, dict | list) else None


def _parameters(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        return []


def _replaced(value: Any, steps: Sequence[Step], new: "Scalar | _Gone") -> Any:
    """`value` with `new` at the end of the steps. Only what lies on the way is copied."""
    if not steps:
        return new
    step, rest = steps[0], steps[1:]
    if isinstance(step, _Inside):
        return json.dumps(_replaced(_json_in(value), rest, new), ensure_ascii=False)
    if isinstance(step, Parameter):
        pairs = [(name, new if name == step.name else text) for name, text in _parameters(value)]
        query = urlencode([(name, text) for name, text in pairs if not isinstance(text, _Gone)])
        return urlunsplit(urlsplit(value)._replace(query=query))
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    below = _replaced(copy[step], rest, new)
    if isinstance(below, _Gone):
        del copy[step]
    else:
        copy[step] = below
    return copy
